//! What `weir` says in a node's agent.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::shop::agent_on;
use super::{Cluster, Namespace, WEIR_NAMESPACE, output};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `weir` in a node's agent.
///
/// # Panics
/// If the node has none.
pub fn in_agent(node: &str, arguments: &[&str]) -> Output {
    let agent = agent_on(node);
    let mut command = Cluster::shared().command("kubectl");
    command
        .args(["exec", "--namespace", WEIR_NAMESPACE, &agent, "--", "weir"])
        .args(arguments);
    output(&mut command)
}

/// What the agent of that node says of a pod.
///
/// # Panics
/// If it says nothing.
pub fn explain(node: &str, namespace: &Namespace<'_>, pod: &str) -> Json {
    let pod = format!("{}/{pod}", namespace.name());
    let output = in_agent(node, &["explain", "pod", &pod, "--output=json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// The same, once it is as wanted: what the API server was told takes a moment to reach an agent.
///
/// # Panics
/// If it does not become so.
pub fn explained(node: &str, namespace: &Namespace<'_>, pod: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = explain(node, namespace, pod);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer:#}");
    }
}
