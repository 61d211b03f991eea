//! The cluster's own addresses. They are in its own network namespaces, so that all clusters have the same.

/// The control plane, and the bridge that the nodes are on.
pub(crate) const CONTROL_PLANE: &str = "10.77.0.1";
/// Services.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// The API server, as pods know it.
pub(crate) const KUBERNETES_SERVICE: &str = "10.96.0.1";
/// CoreDNS.
pub(crate) const DNS: &str = "10.96.0.10";
/// Pods.
pub(crate) const PODS: &str = "10.244.0.0/16";

/// A node's name, from its number.
pub(crate) fn node_name(number: u8) -> String {
    format!("n{number}")
}

/// A node's address.
pub(crate) fn node_address(number: u8) -> String {
    format!("10.77.0.{}", 10 + number)
}

/// The addresses of a node's pods.
pub(crate) fn pods_of_node(number: u8) -> String {
    format!("10.244.{number}.0/24")
}
