//! How many of the nodes that need an object have it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_api::proto;

use crate::configuration::Configuration;
use crate::discovery::agents::AgentState;
use crate::discovery::assemble::{Key, Resources, Runs, assemble};
use crate::retire::left::Released;
use crate::watch::workloads::Workloads;

/// How many of the nodes that need an object have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Nodes that have its present version.
    pub taken: usize,
    /// Nodes that run a pod which may use it.
    pub needed: usize,
    /// Nodes that have refused its present version.
    pub rejections: Vec<NodeRejection>,
}

/// That a node has refused an object, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRejection {
    /// The node.
    pub node: String,
    /// What its agent said.
    pub message: String,
}

/// What the agents of one replica have taken of what they need: what the replicas tell each other, so that their sum is all agents'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// By kind (as [`proto::Kind`] numbers it) and name, `2/shop/policy`.
    objects: BTreeMap<String, Taken>,
    /// While the release is to retire: what is still captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// Of what is counted: another replica may not know the newest yet.
    version: String,
    nodes: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<NodeRejection>,
}

/// A status names one, and counts the others.
const REJECTIONS_AT_MOST: usize = 8;

/// What each node is to hold.
pub struct Wanted {
    nodes: BTreeMap<String, Resources>,
    /// By which replicas know whether they speak of the same: of each object's own, for what stands for it on a node can differ from node to node.
    versions: BTreeMap<Key, String>,
}

impl Wanted {
    /// Of a configuration, by what each node runs.
    pub fn new(configuration: &Configuration, nodes: &[(String, Workloads)]) -> Self {
        let nodes: BTreeMap<String, Resources> = nodes
            .iter()
            .map(|(node, workloads)| (node.clone(), assemble(configuration, workloads, Runs::This)))
            .collect();
        let told_of = nodes.values().flat_map(|resources| resources.keys());
        let versions = told_of
            .filter(|key| is_told_of(key))
            .map(|key| (key.clone(), version(configuration, key)))
            .collect();
        Self { nodes, versions }
    }
}

/// What `agents`, those of this replica, have taken of it.
pub fn summary(wanted: &Wanted, agents: &[AgentState]) -> Summary {
    let mut by_node: BTreeMap<&str, Vec<&AgentState>> = BTreeMap::new();
    for agent in agents {
        by_node.entry(&agent.node).or_default().push(agent);
    }
    let mut summary = Summary::default();
    for (node, agents) in by_node {
        let Some(resources) = wanted.nodes.get(node) else {
            continue;
        };
        for key in resources.keys().filter(|key| is_told_of(key)) {
            let parts = parts(resources, key);
            let leaves = leaves(resources, key);
            let has = |agent: &AgentState| {
                parts
                    .iter()
                    .all(|(key, version)| agent.taken.get(*key) == Some(*version))
            };
            let refusal = |agent: &AgentState| {
                let mut all = parts.iter().chain(&leaves);
                all.find_map(|(key, version)| match agent.rejected.get(*key) {
                    Some((refused, message)) if refused == *version => Some(message.clone()),
                    _ => None,
                })
            };
            let taken = summary.objects.entry(shown(key)).or_default();
            taken.version = wanted.versions.get(key).cloned().unwrap_or_default();
            if agents.iter().any(|agent| has(agent) && refusal(agent).is_none()) {
                taken.nodes += 1;
            } else if let Some(message) = agents.iter().find_map(|agent| refusal(agent))
                && taken.rejections.len() < REJECTIONS_AT_MOST
            {
                taken.rejections.push(NodeRejection {
                    node: node.to_owned(),
                    message,
                });
            }
        }
    }
    summary
}

/// For each backend and policy that some node needs, how many have it by the summaries of all replicas. What is not in it is needed by none.
pub fn programmed(wanted: &Wanted, summaries: &[Summary]) -> BTreeMap<Key, Programmed> {
    let mut all: BTreeMap<Key, Programmed> = BTreeMap::new();
    for resources in wanted.nodes.values() {
        for key in resources.keys().filter(|key| is_told_of(key)) {
            all.entry(key.clone()).or_default().needed += 1;
        }
    }
    for (key, programmed) in &mut all {
        let (name, version) = (shown(key), wanted.versions.get(key));
        let of_replicas = summaries.iter().filter_map(|summary| summary.objects.get(&name));
        for taken in of_replicas.filter(|taken| Some(&taken.version) == version) {
            // An agent that has gone from one replica to another is told of by both for a moment.
            programmed.taken = (programmed.taken + taken.nodes).min(programmed.needed);
            programmed.rejections.extend(taken.rejections.iter().cloned());
        }
        programmed.rejections.sort();
        programmed.rejections.dedup();
    }
    all
}

fn is_told_of(key: &Key) -> bool {
    [proto::Kind::Backend, proto::Kind::Policy]
        .map(i32::from)
        .contains(&key.kind)
}

/// What has to be taken for an object to be programmed: a backend without its key is of no use.
fn parts<'a>(resources: &'a Resources, key: &Key) -> Vec<(&'a Key, &'a String)> {
    let is_backend = key.kind == i32::from(proto::Kind::Backend);
    let credential = Key::new(proto::Kind::Credential, &key.name);
    [
        resources.get_key_value(key),
        resources.get_key_value(&credential).filter(|_| is_backend),
    ]
    .into_iter()
    .flatten()
    .map(|(key, resource)| (key, &resource.version))
    .collect()
}

/// The certificates of a backend's hosts: without one that is refused, its connections can't be opened. That they are taken is not waited for, for they are
/// renewed all the time.
fn leaves<'a>(resources: &'a Resources, key: &Key) -> Vec<(&'a Key, &'a String)> {
    let backend = resources.get(key).and_then(|resource| resource.body.as_ref());
    let hosts = match backend {
        Some(proto::resource::Body::Backend(backend)) => backend.hosts.as_slice(),
        _ => &[],
    };
    let leaf = |host: &String| resources.get_key_value(&Key::new(proto::Kind::Leaf, host));
    let leaves = hosts.iter().filter_map(leaf);
    leaves.map(|(key, resource)| (key, &resource.version)).collect()
}

/// Half of a hash tells versions apart, and a summary is to be small.
fn version(configuration: &Configuration, key: &Key) -> String {
    let is_backend = key.kind == i32::from(proto::Kind::Backend);
    let parts = match is_backend {
        true => [
            configuration.backends.get(&key.name),
            configuration.credentials.get(&key.name),
        ],
        false => [configuration.policies.get(&key.name), None],
    };
    let versions = parts.into_iter().flatten().map(|resource| &resource.version);
    versions
        .map(|version| version.get(..16).unwrap_or(version))
        .collect()
}

fn shown(key: &Key) -> String {
    format!("{}/{}", key.kind, key.name)
}

#[cfg(test)]
#[path = "programmed_tests.rs"]
mod tests;
