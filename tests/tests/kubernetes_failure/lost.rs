//! A node's agent is killed, or hangs: what its failure policy promises holds for each connection.

use nix::time::{ClockId, clock_gettime};
use serde_json::Value as Json;
use weir_tests::cluster::shop::{APP, agent_on, labelled};
use weir_tests::cluster::{Cluster, Namespace, PROVIDER_KEY, Program, Stream};

use crate::{SLEEP, alone, process};

const PROBE: &str = include_str!("probe.py");
const NODE: &str = "n1";
const OPEN: &str = "open";
const CLOSED: &str = "closed";

/// Two pods that probe from the node, and are captured.
struct Scene {
    shop: Namespace<'static>,
}

/// What became of one connection.
#[derive(Debug)]
struct Probed {
    begun: f64,
    outcome: String,
}

impl Scene {
    fn new() -> Self {
        let shop = labelled("lost");
        shop.apply(&format!(
            "{{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {{name: shut}}, spec: {{targetRefs: [{{kind: Workload, labels: {{app: {CLOSED}}}}}], failurePolicy: Closed}}}}"
        ));
        shop.wait("aipolicy/shut", "condition=Accepted");
        for pod in [OPEN, CLOSED] {
            shop.pod(pod, NODE, APP, SLEEP);
        }
        Self { shop }
    }

    fn probes(&self) -> [Program<'_>; 2] {
        [OPEN, CLOSED].map(|pod| {
            let mut program = Program::start(&self.shop, pod, PROBE);
            program.wait_for(|line| line.ends_with(" weir"));
            program
        })
    }
}

fn probed(lines: &[String]) -> Vec<Probed> {
    lines
        .iter()
        .map(|line| {
            let (begun, outcome) = line.split_once(' ').unwrap();
            Probed {
                begun: begun.parse().unwrap(),
                outcome: outcome.to_owned(),
            }
        })
        .collect()
}

fn now() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() as f64 + now.tv_nsec() as f64 / 1e9
}

/// Waits for a connection that was begun from here on, and is served by Weir.
fn served_again(programs: &mut [Program<'_>; 2]) {
    let from = now();
    for program in programs {
        program.wait_for(|line| {
            let (begun, outcome) = line.split_once(' ').unwrap();
            begun.parse::<f64>().unwrap() > from && outcome == "weir"
        });
    }
}

/// The agent's process, as its node numbers it.
fn agent_process() -> String {
    process(NODE, &agent_on(NODE), "weir")
}

fn signal(signal: &str, process: &str) {
    Cluster::shared().on_node(NODE, &["kill", signal, process]);
}

/// Those that did not end as they may: as `allowed`, or cut if they were under way before `lost`.
fn wrong<'a>(probed: &'a [Probed], allowed: [&str; 2], lost: f64) -> Vec<&'a Probed> {
    let right = |probed: &&Probed| {
        allowed.contains(&probed.outcome.as_str())
            || (probed.outcome.starts_with("cut ") && probed.begun < lost)
    };
    probed.iter().filter(|probed| !right(probed)).collect()
}

fn count(probed: &[Probed], outcome: &str) -> usize {
    probed.iter().filter(|probed| probed.outcome == outcome).count()
}

/// What the provider got of a pod's probes has come by Weir: by TLS, and with the key.
fn assert_none_got_out(pod: &str) {
    let log = Cluster::shared().kubectl(&[
        "--namespace=providers",
        "logs",
        "deployment/mock-provider",
        "--since=120s",
    ]);
    let header = |record: &Json, name: &str| {
        let headers = record["headers"].as_array().unwrap();
        let found = headers
            .iter()
            .find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
        found.map_or(String::new(), |header| header[1].as_str().unwrap().to_owned())
    };
    let records = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let of_pod: Vec<Json> = records
        .filter(|record| header(record, "x-probe") == pod)
        .collect();
    assert!(!of_pod.is_empty());
    for record in of_pod {
        let by_weir = header(&record, "authorization") == format!("Bearer {PROVIDER_KEY}");
        assert!(by_weir && record["tls"] == true, "{record}");
    }
}

/// Both in one scene: to make one takes longer than what is done in it.
#[test]
fn lost_open_refuses_no_new_connection_and_closed_lets_none_out() {
    let _alone = alone();
    let scene = Scene::new();
    hung(&scene);
    killed(&scene);
    assert_none_got_out(CLOSED);
}

/// The heartbeat decides, what has waited is served in the end, and a stream that was open goes on.
fn hung(scene: &Scene) {
    let [mut open, mut closed] = scene.probes();
    let streams = [OPEN, CLOSED].map(|pod| Stream::open(&scene.shop, pod));
    let process = agent_process();
    signal("-STOP", &process);
    open.wait_for(|line| line.ends_with(" passed"));
    closed.wait_for(|line| line.ends_with(" refused"));
    signal("-CONT", &process);
    let mut programs = [open, closed];
    served_again(&mut programs);
    let [open, closed] = programs.map(|program| probed(&program.stop()));
    // Nothing is cut: those of the last seconds before the heartbeat was missed have waited.
    assert_eq!(wrong(&open, ["weir", "passed"], 0.0).len(), 0, "{open:?}");
    assert_eq!(wrong(&closed, ["weir", "refused"], 0.0).len(), 0, "{closed:?}");
    streams.into_iter().for_each(Stream::assert_whole);
}

fn killed(scene: &Scene) {
    let mut programs = scene.probes();
    let streams = [OPEN, CLOSED].map(|pod| Stream::open(&scene.shop, pod));
    let process = agent_process();
    signal("-KILL", &process);
    let gone = format!("while [ -e /proc/{process}/fd/0 ]; do :; done");
    Cluster::shared().on_node(NODE, &["sh", "-c", &gone]);
    let lost = now();
    // What it served ends with it, and is not waited for by anybody.
    streams.into_iter().for_each(Stream::assert_cut);
    served_again(&mut programs);
    let [open, closed] = programs.map(|program| probed(&program.stop()));
    assert_eq!(wrong(&open, ["weir", "passed"], lost).len(), 0, "{open:?}");
    assert_eq!(wrong(&closed, ["weir", "refused"], lost).len(), 0, "{closed:?}");
    // kubelet takes longer to start another than two probes are apart.
    assert!(count(&open, "passed") > 0 && count(&closed, "refused") > 0);
}
