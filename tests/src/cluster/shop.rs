//! A namespace whose applications are intercepted, and what their nodes' agents say of them.

use serde_json::Value as Json;

use super::{Cluster, Namespace, PROVIDER_KEY, WEIR_NAMESPACE, told};

/// The image of a Python application with the providers' SDKs, and no key.
pub const APP: &str = "weir.test/app-python:1";

/// A namespace of the test's own, labelled before there is any pod, with a backend for OpenAI and its key.
pub fn labelled(purpose: &str) -> Namespace<'static> {
    let shop = Cluster::shared().namespace(purpose);
    shop.kubectl(&["label", "namespace", shop.name(), "weir.dev/intercept=enabled"]);
    openai_backend(&shop);
    shop
}

/// A backend for OpenAI, with its key.
pub fn openai_backend(shop: &Namespace<'_>) {
    shop.apply(&format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: openai}}
stringData: {{apiKey: {PROVIDER_KEY}}}
---
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {{name: openai}}
spec:
  provider: {{openai: {{}}}}
  auth: {{secretRef: {{name: openai}}}}
"
    ));
    shop.wait("aibackend/openai", "condition=Accepted");
}

/// The name of the agent's pod on a node. One that another has taken over from may still be ending.
///
/// # Panics
/// If there is none, or more than one.
pub fn agent_on(node: &str) -> String {
    let cluster = Cluster::shared();
    let selector = "--selector=app.kubernetes.io/component=agent";
    let on_node = format!("--field-selector=spec.nodeName={node},status.phase=Running");
    let namespace = format!("--namespace={WEIR_NAMESPACE}");
    let name = cluster.kubectl(&[
        "get",
        "pods",
        &namespace,
        selector,
        &on_node,
        "--output=go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}",
    ]);
    let name = name.trim();
    assert!(
        !name.is_empty() && !name.contains(' '),
        "one agent on {node}: `{name}`"
    );
    name.to_owned()
}

/// The lines of an agent's access log that are of this namespace.
pub fn access_log(agent: &str, namespace: &str) -> Vec<Json> {
    let own = format!("--namespace={WEIR_NAMESPACE}");
    let log = Cluster::shared().kubectl(&["logs", &own, agent]);
    log.lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .filter(|line| line["k8s.namespace.name"] == namespace)
        .collect()
}

/// An agent's metrics, as Prometheus reads them.
pub fn metrics(agent: &str) -> String {
    let path = format!("/api/v1/namespaces/{WEIR_NAMESPACE}/pods/{agent}:15090/proxy/metrics");
    Cluster::shared().kubectl(&["get", "--raw", &path])
}

/// Whether what a pod dials arrives at the provider itself: its certificate is the provider's own.
///
/// # Panics
/// If nobody answers, or somebody else.
pub fn is_straight(shop: &Namespace<'_>, pod: &str) -> bool {
    // Whatever the certificate: a program that once refuses Weir's is let through afterwards.
    let output = shop.exec_output(pod, &["curl", "-skv", "https://api.openai.com/hello"]);
    let text = told(&output);
    let [straight, intercepted] =
        ["Mock provider root", "Weir intermediate"].map(|issuer| text.contains(issuer));
    assert!(output.status.success() && straight != intercepted, "{text}");
    straight
}
