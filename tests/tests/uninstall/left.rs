//! What is left of Weir: in the kernel, on nodes, in the API server.

use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value as Json;
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE};
use weir_tests::world::leftovers::KernelObjects;

const NODES: [&str; 2] = ["n1", "n2"];
/// Agents drain, and what has lost its owner is collected, on their own time.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// Programs, maps and links of all agents of the cluster.
pub(crate) fn of_agents() -> Vec<KernelObjects> {
    let cluster = format!("/weir-cluster/{}/", Cluster::shared().paths().name());
    let is_ours = |process: &str| {
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        command.starts_with(b"weir\0agent\0") && groups.contains(&cluster)
    };
    let objects: Vec<KernelObjects> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| is_ours(name))
        .map(|process| KernelObjects::held_by(Pid::from_raw(process.parse().unwrap())))
        .collect();
    assert!(!objects.is_empty() && objects.iter().all(|held| !held.is_empty()));
    objects
}

/// What is pinned on a node, by path.
pub(crate) fn pinned_on(node: &str) -> String {
    Cluster::shared().on_node(node, &["sh", "-c", "find /sys/fs/bpf/weir 2>/dev/null || true"])
}

/// Asserts that no node has a pin, a folder or a kernel object any more.
pub(crate) fn assert_nothing_on_nodes(objects: &[KernelObjects]) {
    for node in NODES {
        until_empty(&format!("left on {node}"), || {
            let folders = "for path in /sys/fs/bpf/weir /run/weir /var/lib/weir; do find $path 2>/dev/null || true; done";
            Cluster::shared().on_node(node, &["sh", "-c", folders])
        });
    }
    for held in objects {
        held.assert_gone();
    }
}

/// Asserts that no object of Weir's is left, of any kind, in any namespace. With `definitions` those of AIBackends and AIPolicies may be, and the namespace.
pub(crate) fn assert_nothing_in_the_cluster(definitions: bool) {
    let cluster = Cluster::shared();
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"]);
    let kinds: Vec<&str> = kinds
        .lines()
        // Events tell of what was, and go by themselves.
        .filter(|kind| !kind.starts_with("events"))
        .filter(|kind| !definitions || !kind.ends_with(".weir.dev"))
        .collect();
    let kinds = kinds.join(",");
    until_empty("left in the API server", || {
        let all = cluster.kubectl(&["get", &kinds, "--all-namespaces", "--output=json"]);
        let all: Json = serde_json::from_str(&all).unwrap();
        let objects = all["items"].as_array().unwrap();
        let left = objects
            .iter()
            .filter(|object| is_weirs(object) && !(definitions && is_of_definitions(object)));
        left.map(|object| format!("{} {}\n", object["kind"], object["metadata"]["name"]))
            .collect()
    });
}

/// Whether it is, names, or belongs to anything of Weir's.
fn is_weirs(object: &Json) -> bool {
    let metadata = &object["metadata"];
    let mut object = object.clone();
    object["metadata"]["managedFields"] = Json::Null;
    let text = match object["kind"].as_str().unwrap() {
        // Those of users: they keep their labels, and what they were given when they were made.
        "Namespace" => metadata["name"].to_string(),
        "Pod" if metadata["namespace"] != WEIR_NAMESPACE => metadata["name"].to_string(),
        // Which images it has.
        "Node" => metadata.to_string().replace("weir-cluster", ""),
        _ => object.to_string(),
    };
    let users = ["weir.test/", "weir.dev/intercept", "weir-cluster"];
    let text = users.iter().fold(text, |text, word| text.replace(word, ""));
    text.contains("weir")
}

/// Whether it is of the chart weir-crds, or the namespace, with what is in every namespace and what the user has put there.
fn is_of_definitions(object: &Json) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap();
    let users = ["default", "kube-root-ca.crt", "provider-ca"];
    name == WEIR_NAMESPACE
        || name.ends_with(".weir.dev")
        || name.contains(".weir-crds.")
        || object["metadata"]["namespace"] == WEIR_NAMESPACE && users.contains(&name)
}

/// Waits until nothing is told any more.
fn until_empty(what: &str, tell: impl Fn() -> String) {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let left = tell();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{what}:\n{left}");
        // No event tells of all kinds at once.
        std::thread::sleep(Duration::from_millis(500));
    }
}
