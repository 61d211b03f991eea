//! Pods as far as the controller needs them: what it keeps of each is some hundred bytes, for a cluster may have very many.

use std::collections::BTreeMap;

use kube::api::{ApiResource, Object};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};

use crate::names::{INJECTED_ANNOTATION, INTERCEPT_LABEL, MIRROR_ANNOTATION};

/// A pod, trimmed.
pub type Pod = Object<PodSpec, PodStatus>;

/// The part of a pod's `spec` that is read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// Where it runs; absent until it is scheduled.
    #[serde(default)]
    pub node_name: Option<String>,
    /// Whose rights it has.
    #[serde(default)]
    pub service_account_name: Option<String>,
    /// Whether its network is the node's own.
    #[serde(default)]
    pub host_network: bool,
}

/// The part of a pod's `status` that is read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    #[serde(default)]
    pub phase: Option<String>,
}

/// What [`Pod`] is to the API server.
pub fn resource() -> ApiResource {
    ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&())
}

/// Takes out of a pod's metadata what is never read.
pub fn trim(pod: &mut Pod) {
    let metadata = &mut pod.metadata;
    metadata.managed_fields = None;
    metadata.owner_references = None;
    metadata.finalizers = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| [INJECTED_ANNOTATION, MIRROR_ANNOTATION].contains(&key.as_str()));
    }
}

/// What a namespace or pod asks for by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `enabled`.
    Enabled,
    /// `observe`.
    Observe,
    /// `disabled`.
    Disabled,
}

/// What the label says. What is none of the three values asks for nothing.
pub fn asked(labels: &BTreeMap<String, String>) -> Option<Asked> {
    match labels.get(INTERCEPT_LABEL)?.as_str() {
        "enabled" => Some(Asked::Enabled),
        "observe" => Some(Asked::Observe),
        "disabled" => Some(Asked::Disabled),
        _ => None,
    }
}

/// What becomes of a pod of a namespace that asks for `namespace`: its own label goes before the namespace's.
pub fn intercept(pod: &Pod, namespace: Option<Asked>) -> Asked {
    asked(pod.labels()).or(namespace).unwrap_or(Asked::Disabled)
}

/// Whether it has ended, so that nothing of it runs any more.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the webhook has given it our root.
pub fn is_injected(pod: &Pod) -> bool {
    pod.meta()
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(INJECTED_ANNOTATION))
        .is_some_and(|value| value == "1")
}

/// Whether it stands for a static pod, which a node's kubelet runs from a file of its own.
///
/// A kubelet may make such a pod in any namespace, with any labels, as long as it is bound to its own node. Were it taken for one of the
/// namespace's pods, whoever has taken over a node could have that namespace's keys sent there. The API server lets nobody take the
/// annotation away.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.annotations().contains_key(MIRROR_ANNOTATION)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use super::*;

    fn pod(labels: &str, annotations: &str) -> Pod {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web","labels":{labels},"annotations":{annotations},
            "managedFields":[{{"manager":"kubectl"}}]}},"spec":{{"nodeName":"n1","containers":[{{"name":"app"}}]}},
            "status":{{"phase":"Running","podIP":"10.0.0.1"}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_pods_label_goes_before_the_namespaces() {
        let cases = [
            ("{}", None, Asked::Disabled),
            ("{}", Some(Asked::Enabled), Asked::Enabled),
            (
                r#"{"weir.dev/intercept":"observe"}"#,
                Some(Asked::Enabled),
                Asked::Observe,
            ),
            (
                r#"{"weir.dev/intercept":"disabled"}"#,
                Some(Asked::Enabled),
                Asked::Disabled,
            ),
            (r#"{"weir.dev/intercept":"enabled"}"#, None, Asked::Enabled),
            (
                r#"{"weir.dev/intercept":"yes"}"#,
                Some(Asked::Observe),
                Asked::Observe,
            ),
        ];
        for (labels, namespace, wanted) in cases {
            assert_eq!(
                intercept(&pod(labels, "{}"), namespace),
                wanted,
                "{labels} in {namespace:?}"
            );
        }
    }

    #[test]
    fn what_is_not_read_is_not_kept() {
        let mut pod = pod("{}", r#"{"weir.dev/injected":"1","other":"long"}"#);
        trim(&mut pod);
        assert!(is_injected(&pod));
        assert_eq!(pod.annotations().len(), 1);
        assert!(pod.metadata.managed_fields.is_none());
        assert_eq!(pod.spec.node_name.as_deref(), Some("n1"));
        assert!(!is_over(&pod));
        assert!(!is_mirror(&pod));
    }

    #[test]
    fn that_a_kubelet_has_made_it_is_kept() {
        let mut pod = pod("{}", r#"{"kubernetes.io/config.mirror":"","other":"long"}"#);
        trim(&mut pod);
        assert!(is_mirror(&pod), "whatever the value");
    }
}
