//! What each node runs that is to be captured or observed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use weir_api::proto;
use weir_api::proto::resource::Body;

use super::exempt::Exempt;
use super::pod::{self, Asked, Pod};
use crate::configuration::Configuration;

/// A node's workloads, in the order of their uids.
pub type Workloads = Arc<[Arc<proto::Resource>]>;

/// Nodes by name, each with its workloads.
pub type OfNodes = Vec<(String, Workloads)>;

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

/// What a node runs, and the configuration by which it was said what binds each pod of it: one without the other names policies that are not there.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// What the node runs.
    pub workloads: Workloads,
}

/// The workloads of all nodes, to be followed node by node. Cloning it gives another handle to the same.
#[derive(Debug, Clone)]
pub struct NodeWorkloads {
    nodes: Arc<Mutex<Nodes>>,
    published: Arc<watch::Sender<u64>>,
}

impl Default for NodeWorkloads {
    fn default() -> Self {
        Self {
            nodes: Arc::default(),
            published: Arc::new(watch::channel(0).0),
        }
    }
}

#[derive(Debug, Default)]
struct Nodes {
    /// What was published last; None: nothing yet.
    configuration: Option<Arc<Configuration>>,
    by_name: HashMap<String, watch::Sender<Option<Placed>>>,
}

impl NodeWorkloads {
    /// What `node` runs, now and whenever that or the configuration changes. `None`: not known yet.
    pub fn of(&self, node: &str) -> watch::Receiver<Option<Placed>> {
        let mut nodes = self.nodes.lock();
        let now = nodes.configuration.clone().map(|configuration| Placed {
            configuration,
            workloads: Workloads::from([]),
        });
        nodes
            .by_name
            .entry(node.to_owned())
            .or_insert_with(|| watch::channel(now).0)
            .subscribe()
    }

    /// Wakes when some node's workloads, or the configuration, have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// What all nodes run from now on, by that configuration. Only those nodes are woken for which anything has changed.
    pub fn publish(
        &self,
        configuration: &Arc<Configuration>,
        mut now: BTreeMap<String, Vec<Arc<proto::Resource>>>,
    ) {
        let mut nodes = self.nodes.lock();
        let last = nodes.configuration.replace(Arc::clone(configuration));
        let is_another = last.is_none_or(|last| !Arc::ptr_eq(&last, configuration));
        let placed = |workloads: Vec<_>| Placed {
            configuration: Arc::clone(configuration),
            workloads: workloads.into(),
        };
        let mut has_changed = is_another;
        nodes.by_name.retain(|node, sender| {
            let workloads = now.remove(node).unwrap_or_default();
            let is_used = sender.receiver_count() > 0 || !workloads.is_empty();
            sender.send_if_modified(|last| {
                let is_as = |last: &Placed| versions(&last.workloads) == versions(&workloads);
                let is_changed = is_another || !last.as_ref().is_some_and(is_as);
                if is_changed {
                    *last = Some(placed(workloads));
                }
                has_changed |= is_changed;
                is_changed
            });
            is_used
        });
        has_changed |= !now.is_empty();
        for (node, workloads) in now {
            nodes
                .by_name
                .insert(node, watch::channel(Some(placed(workloads))).0);
        }
        if has_changed {
            self.published.send_modify(|last| *last += 1);
        }
    }

    /// The configuration, and every node that runs a workload, with what it runs. `None`: not known yet.
    pub fn all(&self) -> Option<(Arc<Configuration>, OfNodes)> {
        let nodes = self.nodes.lock();
        let each = nodes.by_name.iter().filter_map(|(node, sender)| {
            let workloads = Arc::clone(&sender.borrow().as_ref()?.workloads);
            (!workloads.is_empty()).then(|| (node.clone(), workloads))
        });
        Some((nodes.configuration.clone()?, each.collect()))
    }
}

fn versions(workloads: &[Arc<proto::Resource>]) -> Vec<&str> {
    workloads
        .iter()
        .map(|resource| resource.version.as_str())
        .collect()
}

#[cfg(test)]
#[path = "workloads_tests.rs"]
mod tests;
