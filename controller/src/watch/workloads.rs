//! What each node runs that is to be captured or observed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use weir_api::proto;
use weir_api::proto::resource::Body;

use super::exempt::Exempt;
use super::pod::{self, Asked, Pod};

/// A node's workloads, in the order of their uids.
pub type Workloads = Arc<[Arc<proto::Resource>]>;

/// Nodes by name, each with its workloads.
pub type WorkloadsByNode = Vec<(String, Workloads)>;

/// What policies say of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPolicies {
    /// Resource names of the policies that target it.
    pub policies: Vec<String>,
    /// What becomes of its connections when the agent is away.
    pub failure_policy: proto::FailurePolicy,
}

/// The workloads of each node.
///
/// Never a pod on the node's network, one that a kubelet has made, one of a namespace that is left alone, or one that has ended.
pub fn by_node(
    pods: &[Arc<Pod>],
    namespaces: &HashMap<String, Asked>,
    exempt: &Exempt,
    policies: impl Fn(&Pod) -> WorkloadPolicies,
) -> BTreeMap<String, Vec<Arc<proto::Resource>>> {
    let mut nodes: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for pod in pods {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let Some(node) = &pod.spec.node_name else {
            continue;
        };
        let is_left_alone = pod.spec.host_network || pod::is_mirror(pod) || exempt.contains(namespace);
        if is_left_alone || pod::is_over(pod) {
            continue;
        }
        let intercept = match pod::intercept(pod, namespaces.get(namespace).copied()) {
            Asked::Enabled => proto::Intercept::Enabled,
            Asked::Observe => proto::Intercept::Observe,
            Asked::Disabled => continue,
        };
        let mut of_policies = policies(pod);
        let trusts = pod::is_injected(pod);
        if !(trusts && intercept == proto::Intercept::Enabled) {
            // Nothing of it is served, and no agent is sent policies for it.
            of_policies.policies.clear();
        }
        let uid = pod.uid().unwrap_or_default();
        let body = Body::Workload(proto::Workload {
            uid: uid.clone(),
            namespace: namespace.to_owned(),
            pod: pod.name_any(),
            service_account: pod.spec.service_account_name.clone().unwrap_or_default(),
            intercept: intercept.into(),
            failure_policy: of_policies.failure_policy.into(),
            trusts,
            policies: of_policies.policies,
        });
        nodes
            .entry(node.clone())
            .or_default()
            .push(Arc::new(weir_api::resource::resource(uid, body)));
    }
    for workloads in nodes.values_mut() {
        workloads.sort_by(|one, other| one.name.cmp(&other.name));
    }
    nodes
}

#[cfg(test)]
#[path = "workloads_tests.rs"]
pub(crate) mod tests;
