//! Objects that the tests make.

use weir_tests::cluster::{Cluster, Namespace};

/// A node that is only an object, so that no real agent is on it. It goes with the value.
pub(crate) struct PaperNode<'cluster> {
    cluster: &'cluster Cluster,
    pub(crate) name: &'static str,
}

impl<'cluster> PaperNode<'cluster> {
    /// Of that name.
    pub(crate) fn new(cluster: &'cluster Cluster, name: &'static str) -> Self {
        let node = Self { cluster, name };
        node.delete();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            format!("{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}"),
        )
        .unwrap();
        cluster.kubectl(&["create", "--filename", &file.path().display().to_string()]);
        node
    }

    fn delete(&self) {
        self.cluster
            .kubectl(&["delete", "node", self.name, "--ignore-not-found"]);
    }
}

impl Drop for PaperNode<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.delete();
        }
    }
}

/// A backend of the namespace's own, for `host`, with its key in a Secret of the same name.
pub(crate) fn backend(namespace: &Namespace<'_>, name: &str, host: &str, key: &str) {
    secret(namespace, name, key);
    namespace.apply(&format!(
        "apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {{name: {name}}}
spec: {{provider: {{openai: {{}}}}, hosts: [{host}], auth: {{secretRef: {{name: {name}}}}}}}
"
    ));
}

/// A Secret with a provider's key.
pub(crate) fn secret(namespace: &Namespace<'_>, name: &str, key: &str) {
    namespace.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, stringData: {{apiKey: {key}}}}}"
    ));
}

/// A pod that is bound to a node and counts as given our root. It need not run: the node is in its spec.
pub(crate) fn pod(namespace: &Namespace<'_>, name: &str, node: &str) {
    namespace.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, annotations: {{weir.dev/injected: '1'}}, labels: {{weir.dev/intercept: enabled}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: app, image: weir.test/busybox:1, imagePullPolicy: Never, command: [sleep, infinity]}}]
"
    ));
}
