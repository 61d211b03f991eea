//! Answers an agent's question about one pod of its own node.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use weir_api::proto;

use crate::names::INTERCEPT_LABEL;
use crate::watch::exempt::Exempt;
use crate::watch::pod::{self, Pod};

/// What there is to know of pods.
pub struct KnownPods {
    /// All pods.
    pub pods: Store<Pod>,
    /// All namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The namespaces whose pods are left alone.
    pub exempt: Exempt,
}

impl KnownPods {
    /// What is known of a pod, if it runs on `node`; else no more than that it does not.
    pub fn answer(&self, node: &str, namespace: &str, name: &str) -> proto::PodAnswer {
        let key = ObjectRef::new_with(name, pod::resource()).within(namespace);
        let found = self.pods.get(&key);
        let Some(pod) = found.filter(|pod| pod.spec.node_name.as_deref() == Some(node)) else {
            return proto::PodAnswer::default();
        };
        let of_namespace = self.namespaces.get(&ObjectRef::new(namespace));
        let namespace_label =
            of_namespace.and_then(|namespace| namespace.labels().get(INTERCEPT_LABEL).cloned());
        proto::PodAnswer {
            is_here: true,
            uid: pod.uid().unwrap_or_default(),
            host_network: pod.spec.host_network,
            of_weir: self.exempt.is_own(namespace),
            is_exempt: self.exempt.contains(namespace),
            is_mirror: pod::is_mirror(&pod),
            is_over: pod::is_over(&pod),
            injected: pod::is_injected(&pod),
            pod_label: pod.labels().get(INTERCEPT_LABEL).cloned().unwrap_or_default(),
            namespace_label: namespace_label.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn known() -> KnownPods {
        let mut pods = Writer::new(pod::resource());
        let mut namespaces = Writer::default();
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "till", "namespace": "shop", "uid": "u1", "labels": {INTERCEPT_LABEL: "observe"}},
            "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running"}});
        pods.apply_watcher_event(&Event::Apply(serde_json::from_value(pod).unwrap()));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {INTERCEPT_LABEL: "enabled"}}});
        namespaces.apply_watcher_event(&Event::Apply(serde_json::from_value(namespace).unwrap()));
        KnownPods {
            pods: pods.as_reader(),
            namespaces: namespaces.as_reader(),
            exempt: Exempt::new("weir-system", ["kube-system".to_owned()]),
        }
    }

    #[test]
    fn a_nodes_own_pod_is_told_of_whole() {
        let answer = known().answer("n1", "shop", "till");
        assert!(
            answer.is_here && answer.host_network && !answer.of_weir && !answer.is_over && !answer.injected
        );
        assert!(!answer.is_exempt && !answer.is_mirror);
        assert_eq!(
            (answer.pod_label.as_str(), answer.namespace_label.as_str()),
            ("observe", "enabled")
        );
        assert_eq!(answer.uid, "u1");
    }

    #[test]
    fn what_is_left_alone_is_told_of_as_such() {
        let mut pods = Writer::new(pod::resource());
        for namespace in ["kube-system", "weir-system"] {
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "own", "namespace": namespace, "annotations": {"kubernetes.io/config.mirror": "1"}},
                "spec": {"nodeName": "n1"}});
            pods.apply_watcher_event(&Event::Apply(serde_json::from_value(pod).unwrap()));
        }
        let known = KnownPods {
            pods: pods.as_reader(),
            ..known()
        };
        let excluded = known.answer("n1", "kube-system", "own");
        assert!(excluded.is_exempt && excluded.is_mirror && !excluded.of_weir);
        let own = known.answer("n1", "weir-system", "own");
        assert!(own.is_exempt && own.of_weir);
    }

    #[test]
    fn of_other_nodes_pods_nothing_is_told() {
        let none = proto::PodAnswer::default();
        assert_eq!(known().answer("n2", "shop", "till"), none);
        assert_eq!(known().answer("n1", "shop", "other"), none);
        assert_eq!(known().answer("n1", "other", "till"), none);
    }
}
