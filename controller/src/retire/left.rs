//! Which nodes are not done yet: of which it is not known that nothing is captured there any more.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use weir_api::proto;
use weir_api::proto::resource::Body;

use crate::discovery::agents::AgentState;
use crate::names::AGENT_SERVICE_ACCOUNT;
use crate::watch::pod;
use crate::watch::stores::Stores;
use crate::watch::workloads::Workloads;

/// A ConfigMap holds 1 MiB, and whoever reads of so many has seen enough.
const NODES_AT_MOST: usize = 50;
const PODS_AT_MOST: usize = 8;

/// What the agents of a replica say that they still capture, by node; told to the replica that holds the Lease.
///
/// An agent is in it that has taken that there is nothing to capture any more, and has said what it captures.
pub type Holdings = BTreeMap<String, usize>;

/// The holdings of a replica's agents, in answer to one order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Who asked. A replica that does not know yet has answered nobody.
    pub asked: String,
    /// What is left, by node.
    pub holdings: Holdings,
}

/// What `agents` still capture.
pub fn released(asked: &str, agents: &[AgentState]) -> Released {
    let mut nodes: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    for agent in agents {
        let holds = agent.has_let_go().then_some(agent.captured_pods.len());
        // For a moment there may be an agent and its successor: both have to be done.
        nodes
            .entry(&agent.node)
            .and_modify(|holding| *holding = holding.zip(holds).map(|(one, other)| one.max(other)))
            .or_insert(holds);
    }
    let holdings = nodes
        .into_iter()
        .filter_map(|(node, holding)| Some((node.to_owned(), holding?)))
        .collect();
    Released {
        asked: asked.to_owned(),
        holdings,
    }
}

/// A node on which something may be captured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Whether an agent's pod is bound to it, whatever has become of that.
    pub has_agent: bool,
    /// Its pods that are to be captured when the release goes on, as `NAMESPACE/NAME`.
    pub pods: Vec<String>,
}

/// All nodes that run an agent or a pod that is to be captured.
pub fn concerned(
    stores: &Stores,
    workloads: &[(String, Workloads)],
    own_namespace: &str,
) -> BTreeMap<String, Concerned> {
    let mut nodes: BTreeMap<String, Concerned> = BTreeMap::new();
    for pod in stores.pods.state() {
        let is_agent = pod.metadata.namespace.as_deref() == Some(own_namespace)
            && pod.spec.service_account_name.as_deref() == Some(AGENT_SERVICE_ACCOUNT);
        if let Some(node) = pod
            .spec
            .node_name
            .as_ref()
            .filter(|_| is_agent && !pod::is_over(&pod))
        {
            nodes.entry(node.clone()).or_default().has_agent = true;
        }
    }
    for (node, workloads) in workloads {
        let names = workloads.iter().filter_map(|resource| match &resource.body {
            Some(Body::Workload(proto::Workload { namespace, pod, .. })) => {
                Some(format!("{namespace}/{pod}"))
            }
            _ => None,
        });
        let concerned = nodes.entry(node.clone()).or_default();
        concerned.pods.extend(names);
        concerned.pods.sort();
    }
    nodes
}

/// A node that is not done, and its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    node: String,
    why: Why,
    pods: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its agent says that so many pods are captured still.
    Captured(usize),
    /// Its agent has not said anything.
    Silent,
    /// It has none.
    NoAgent,
}

/// The nodes that are not done, in the order of their names, by what all replicas tell.
pub fn left(concerned: BTreeMap<String, Concerned>, released: &[Released], asked: &str) -> Vec<Left> {
    concerned
        .into_iter()
        .filter_map(|(node, Concerned { has_agent, pods })| {
            let of_replicas = released.iter().filter(|released| released.asked == asked);
            let why = match of_replicas
                .filter_map(|released| released.holdings.get(&node))
                .max()
            {
                Some(0) => return None,
                Some(captured) => Why::Captured(*captured),
                None if has_agent => Why::Silent,
                None => Why::NoAgent,
            };
            Some(Left { node, why, pods })
        })
        .collect()
}

impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {}: ", self.node)?;
        match self.why {
            Why::Captured(pods) => {
                write!(formatter, "its agent has not released all pods yet: {pods} to go")?
            }
            Why::Silent => formatter.write_str("its agent does not answer")?,
            Why::NoAgent => formatter.write_str("no agent runs there")?,
        }
        let shown: Vec<&str> = self.pods.iter().take(PODS_AT_MOST).map(String::as_str).collect();
        if !shown.is_empty() {
            write!(formatter, "; pods that may be captured: {}", shown.join(", "))?;
        }
        match self.pods.len() - shown.len() {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// A line for each node.
pub(super) fn shown(left: &[Left]) -> String {
    let mut text = String::new();
    for node in left.iter().take(NODES_AT_MOST) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{node}");
    }
    if left.len() > NODES_AT_MOST {
        let _ = writeln!(text, "and {} nodes more", left.len() - NODES_AT_MOST);
    }
    text
}

#[cfg(test)]
#[path = "left_tests.rs"]
mod tests;
