//! The API server hangs, and ends: what was configured holds, and what changes afterwards arrives.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_tests::cluster::Cluster;
use weir_tests::cluster::shop::{APP, agent_on, labelled};

use crate::load::Load;
use crate::{NODES, SLEEP, alone, weir};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// An agent's metrics, asked for past the API server.
struct Agent {
    node: &'static str,
    metrics: String,
}

impl Agent {
    fn on(node: &'static str) -> Self {
        let address = weir(&["get", "pod", &agent_on(node), "--output=jsonpath={.status.podIP}"]);
        let metrics = format!("http://{address}:15090/metrics");
        Self { node, metrics }
    }

    /// How many exchanges of this namespace have ended well.
    fn exchanges(&self, namespace: &str) -> u64 {
        let metrics = Cluster::shared().on_node(self.node, &["curl", "-sSf", &self.metrics]);
        let own = format!("k8s_namespace_name=\"{namespace}\"");
        let series = metrics.lines().filter(|line| {
            line.starts_with("weir_exchanges_total{") && line.contains(&own) && line.contains("code=\"200\"")
        });
        series
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }

    /// Returns once so many more have.
    fn served(&self, namespace: &str, more: u64) {
        let wanted = self.exchanges(namespace) + more;
        eventually(
            || self.exchanges(namespace) >= wanted,
            "nothing is served any more",
        );
    }
}

fn eventually(mut holds: impl FnMut() -> bool, otherwise: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{otherwise}");
    }
}

/// The API server, which goes on when this is dropped: the cluster is the other tests' too.
struct Hung(Pid);

impl Hung {
    fn now() -> Self {
        let process = Cluster::shared().control_plane_process("kube-apiserver");
        let process = Pid::from_raw(i32::try_from(process).unwrap());
        kill(process, Signal::SIGSTOP).unwrap();
        Self(process)
    }

    /// Ends it, and with it every watch. The control plane starts another.
    fn end(self) {
        kill(self.0, Signal::SIGKILL).unwrap();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn with_the_api_server_away_nothing_changes_and_what_changes_then_arrives() {
    let _alone = alone();
    let shop = labelled("headless");
    let agents = NODES.map(Agent::on);
    let load = Load::begin(&shop);
    let serve = || agents.iter().for_each(|agent| agent.served(shop.name(), 200));

    let api_server = Hung::now();
    serve();
    api_server.end();
    serve();
    eventually(
        || shop.kubectl_output(&["get", "--raw=/readyz"]).status.success(),
        "the API server does not come back",
    );
    serve();
    load.assert_nothing_was_lost();

    // The watches are opened anew, the webhook is called, and there is somebody who writes statuses.
    shop.apply(
        "{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {name: none}, spec: {targetRefs: [{kind: Workload}], models: {denied: ['*']}}}",
    );
    shop.wait("aipolicy/none", "condition=Programmed");
    shop.pod("late", NODES[0], APP, SLEEP);
    let output = shop.exec_output("late", &["python3", "openai_sync.py"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("AIPolicy {}/none", shop.name())), "{said}");
}
