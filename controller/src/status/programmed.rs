//! How many of the nodes that need an object have it.

use std::collections::{BTreeMap, BTreeSet};

use weir_api::proto;

use crate::configuration::Configuration;
use crate::discovery::agents::AgentState;
use crate::discovery::assemble::{Key, assemble};
use crate::watch::workloads::Workloads;

/// How many of the nodes that need an object have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Nodes that have its present version.
    pub taken: usize,
    /// Nodes that run a pod which may use it.
    pub needed: usize,
    /// Nodes that have refused its present version, in the order of their names.
    pub rejections: Vec<NodeRejection>,
}

/// That a node has refused an object, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRejection {
    /// The node.
    pub node: String,
    /// What its agent said.
    pub message: String,
}

/// For each backend and policy that some node needs, how many have it. What is not in it is needed by none.
pub fn programmed(
    configuration: &Configuration,
    nodes: &[(String, Workloads)],
    agents: &[AgentState],
) -> BTreeMap<Key, Programmed> {
    let mut by_node: BTreeMap<&str, Vec<&AgentState>> = BTreeMap::new();
    for agent in agents {
        by_node.entry(&agent.node).or_default().push(agent);
    }
    let mut all: BTreeMap<Key, Programmed> = BTreeMap::new();
    let told_of = BTreeSet::from([i32::from(proto::Kind::Backend), i32::from(proto::Kind::Policy)]);
    for (node, workloads) in nodes {
        let agents = by_node.get(node.as_str()).map(Vec::as_slice).unwrap_or_default();
        let wanted = assemble(configuration, workloads);
        for (key, resource) in &wanted {
            if !told_of.contains(&key.kind) {
                continue;
            }
            // A backend without its key is of no use.
            let is_backend = key.kind == i32::from(proto::Kind::Backend);
            let credential = Key::new(proto::Kind::Credential, &key.name);
            let with_key = [
                Some((key, resource)),
                wanted.get_key_value(&credential).filter(|_| is_backend),
            ];
            let parts = with_key.into_iter().flatten();
            let has = |agent: &&AgentState| {
                parts
                    .clone()
                    .all(|(key, resource)| agent.taken.get(key) == Some(&resource.version))
            };
            let rejection = agents.iter().find_map(|agent| {
                parts
                    .clone()
                    .find_map(|(key, resource)| match agent.rejected.get(key) {
                        Some((version, message)) if *version == resource.version => Some(message.clone()),
                        _ => None,
                    })
            });
            let programmed = all.entry(key.clone()).or_default();
            programmed.needed += 1;
            programmed.taken += usize::from(agents.iter().any(|agent| has(&agent)));
            if let Some(message) = rejection {
                programmed.rejections.push(NodeRejection {
                    node: node.clone(),
                    message,
                });
            }
        }
    }
    for programmed in all.values_mut() {
        programmed
            .rejections
            .sort_by(|one, other| one.node.cmp(&other.node));
    }
    all
}
