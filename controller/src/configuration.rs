//! What the objects of the cluster come to, as resources that are ready to be sent. One immutable value; a change makes another.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use serde_json::Value as Json;
use weir_ai::Provider;
use weir_api::{
    Auth, Backend, FailurePolicy, ObjectName, Outcome, Snapshot, WorkloadIdentity, proto, resource,
};

use crate::watch::pod::Pod;
use crate::watch::workloads::WorkloadPolicies;

/// What became of each object.
pub type Outcomes = BTreeMap<ObjectName, Outcome>;

/// What holds where no object says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// What becomes of workloads' connections while their node's agent is away.
    pub failure_policy: FailurePolicy,
}

/// All resources but the workloads, each by its name; and what became of each object.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Backends.
    pub backends: BTreeMap<String, Arc<proto::Resource>>,
    /// Policies.
    pub policies: BTreeMap<String, Arc<proto::Resource>>,
    /// Credentials.
    pub credentials: BTreeMap<String, Arc<proto::Resource>>,
    /// Leaves, by host.
    pub leaves: BTreeMap<String, Arc<proto::Resource>>,
    /// What became of each object: what its status says.
    pub outcomes: Outcomes,
    /// The same as values.
    pub snapshot: Snapshot,
    /// What holds where no object says otherwise.
    pub defaults: Defaults,
}

impl Configuration {
    /// Of a snapshot, the leaves of its hosts, and what became of the objects that it comes from.
    pub fn new(
        snapshot: Snapshot,
        leaves: BTreeMap<String, Arc<proto::Resource>>,
        outcomes: Outcomes,
        defaults: Defaults,
    ) -> Self {
        let by_name = |resources: Vec<proto::Resource>| {
            resources
                .into_iter()
                .map(|resource| (resource.name.clone(), Arc::new(resource)))
                .collect()
        };
        let backends = snapshot.backends().iter();
        Self {
            backends: by_name(
                backends
                    .clone()
                    .map(|backend| resource::backend(backend))
                    .collect(),
            ),
            credentials: by_name(
                backends
                    .filter_map(|backend| resource::credential(backend))
                    .collect(),
            ),
            policies: by_name(
                snapshot
                    .policies()
                    .iter()
                    .map(|policy| resource::policy(policy))
                    .collect(),
            ),
            leaves,
            outcomes,
            snapshot,
            defaults,
        }
    }

    /// Whether agents and statuses would be told the same by both, of workloads too: whom a policy targets, and its failure policy, are in no resource of its own.
    pub fn is_as(&self, other: &Self) -> bool {
        let same = |one: &BTreeMap<String, Arc<proto::Resource>>,
                    other: &BTreeMap<String, Arc<proto::Resource>>| {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|((name, resource), (other_name, other))| {
                        name == other_name && resource.version == other.version
                    })
        };
        same(&self.backends, &other.backends)
            && same(&self.policies, &other.policies)
            && same(&self.credentials, &other.credentials)
            && same(&self.leaves, &other.leaves)
            && self.outcomes == other.outcomes
            && self.snapshot.policies() == other.snapshot.policies()
    }

    /// What policies say of a pod that is there.
    pub fn workload_policies(&self, pod: &Pod) -> WorkloadPolicies {
        let workload = WorkloadIdentity {
            uid: None,
            namespace: pod.namespace().unwrap_or_default(),
            service_account: pod.spec.service_account_name.clone().unwrap_or_default(),
            labels: pod.labels().clone(),
        };
        let targeting = self.snapshot.targeting(&workload);
        WorkloadPolicies {
            policies: targeting.map(|policy| resource::policy_name(policy)).collect(),
            failure_policy: self.failure_policy(&workload).into(),
        }
    }

    /// What becomes of a pod that is about to be made, if it is not captured.
    pub fn failure_policy_of(&self, namespace: &str, pod: &Json) -> FailurePolicy {
        let text = |value: &Json| value.as_str().map(str::to_owned);
        let labels = pod["metadata"]["labels"].as_object();
        let workload = WorkloadIdentity {
            uid: None,
            namespace: namespace.to_owned(),
            // The API server has put it in before it asks a webhook.
            service_account: text(&pod["spec"]["serviceAccountName"]).unwrap_or_else(|| "default".to_owned()),
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
                .collect(),
        };
        self.failure_policy(&workload)
    }

    fn failure_policy(&self, workload: &WorkloadIdentity) -> FailurePolicy {
        self.snapshot
            .failure_policy(workload)
            .unwrap_or(self.defaults.failure_policy)
    }

    /// The providers whose key Weir puts in for workloads of `namespace`, each once, in the order of the table.
    pub fn credentialed(&self, namespace: &str) -> Vec<Provider> {
        let puts_key_in = |backend: &Arc<Backend>| {
            let answers = self.snapshot.hosts_of(backend, namespace).next().is_some();
            answers && !matches!(backend.auth, Auth::Passthrough)
        };
        let is_served = |provider: &Provider| {
            self.snapshot
                .backends()
                .iter()
                .any(|backend| backend.provider == *provider && puts_key_in(backend))
        };
        Provider::ALL.iter().copied().filter(is_served).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use weir_api::{Objects, translate_each};

    use super::*;

    fn configuration(policy: &str) -> Configuration {
        let mut objects = Objects::default();
        objects.add_policy("shop", "it", 1, serde_json::from_str(policy).unwrap());
        let translation = translate_each(&objects);
        let (snapshot, outcomes) = (translation.snapshot, translation.outcomes);
        Configuration::new(snapshot, BTreeMap::new(), outcomes, Defaults::default())
    }

    #[test]
    fn whom_a_policy_targets_and_how_it_fails_make_a_difference() {
        let policy = |target: &str, failure: &str| {
            let rest = format!(r#""models": {{"denied": ["o3"]}}, "failurePolicy": "{failure}"}}"#);
            configuration(&format!(r#"{{"targetRefs": [{target}], {rest}"#))
        };
        let workloads = r#"{"kind": "Workload"}"#;
        let first = policy(workloads, "Open");
        assert!(first.is_as(&policy(workloads, "Open")));
        assert!(!first.is_as(&policy(workloads, "Closed")));
        let labelled = r#"{"kind": "Workload", "labels": {"app": "checkout"}}"#;
        assert!(!first.is_as(&policy(labelled, "Open")));
    }
}
