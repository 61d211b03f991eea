//! Weir's parts are replaced, killed, stopped, taken away and set otherwise on a real cluster, while programs go on calling. One test at a
//! time: each is about the whole cluster, which is why they are not among the tests of `kubernetes`.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod api_server;
mod lease;
mod load;
mod lost;
mod release;
mod replaced;
mod revision;
mod root;
mod starts;
mod tries;
mod values;
mod webhook;

use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_tests::cluster::shop::{agent_on, metrics};
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE};

const SLEEP: &str = "command: [sleep, infinity]";
const NODES: [&str; 2] = ["n1", "n2"];

/// The cluster, for one test.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// kubectl in Weir's namespace.
pub(crate) fn weir(arguments: &[&str]) -> String {
    let namespace = format!("--namespace={WEIR_NAMESPACE}");
    Cluster::shared().kubectl(&[&[namespace.as_str()], arguments].concat())
}

/// How many connections have been `captured` by the agents of the nodes so far, or have `passed`, as the kernel has counted.
pub(crate) fn dials(outcome: &str) -> u64 {
    let name = format!("weir_capture_connections_total{{outcome=\"{outcome}\"}} ");
    let of_node = |node| {
        let metrics = metrics(&agent_on(node));
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.unwrap().parse::<u64>().unwrap()
    };
    NODES.into_iter().map(of_node).sum()
}

/// The process of that name in a pod of Weir's, as its node numbers it.
pub(crate) fn process(node: &str, pod: &str, name: &str) -> String {
    let uid = weir(&["get", "pod", pod, "--output=jsonpath={.metadata.uid}"]);
    let script = format!(
        "for process in $(cat /sys/fs/cgroup/unified/kubepods/*/pod{uid}/*/cgroup.procs); do \
         read name < /proc/$process/comm; [ $name = {name} ] && echo $process; done; true"
    );
    let process = Cluster::shared().on_node(node, &["sh", "-c", &script]);
    let process = process.trim();
    assert!(process.parse::<u32>().is_ok(), "one process: `{process}`");
    process.to_owned()
}
