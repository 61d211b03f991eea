//! What each node is told of comes from two things that go together: what it runs, and the configuration by which it was said what binds each pod of it. Whoever took them
//! from different places would find policies named that are not there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_api::proto;

use super::workloads::{Workloads, WorkloadsByNode};
use crate::configuration::Configuration;

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
    pub fn all(&self) -> Option<(Arc<Configuration>, WorkloadsByNode)> {
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
#[path = "placed_tests.rs"]
mod tests;
