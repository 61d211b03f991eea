//! Of the controller's replicas one writes statuses, only where they change, and another goes on when it is killed.

use std::time::{Duration, Instant};

use weir_tests::cluster::shop::{APP, labelled};
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE};

use crate::{NODES, SLEEP, alone, process, weir};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The replicas that say that they hold the Lease.
fn holders() -> Vec<String> {
    let running = "--field-selector=status.phase=Running";
    let controllers = "--selector=app.kubernetes.io/component=controller";
    let names = weir(&[
        "get",
        "pods",
        running,
        controllers,
        "--output=go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}",
    ]);
    let holds = |name: &&str| {
        let path = format!("/api/v1/namespaces/{WEIR_NAMESPACE}/pods/{name}:15014/proxy/metrics");
        // One that begins does not answer yet.
        let mut command = Cluster::shared().command("kubectl");
        let output = command.args(["get", "--raw", &path]).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line == "weir_controller_holds_lease 1")
    };
    names
        .split_whitespace()
        .filter(holds)
        .map(str::to_owned)
        .collect()
}

fn until<T>(mut found: impl FnMut() -> Option<T>, otherwise: &str) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The only replica that says that it holds it, once that is another than `before`.
fn holder(before: Option<&str>) -> String {
    until(
        || {
            let mut holders = holders();
            assert!(holders.len() <= 1, "{holders:?}");
            holders.pop().filter(|holder| Some(holder.as_str()) != before)
        },
        "nobody holds the Lease",
    )
}

/// Waits until the Lease has been renewed so many times: a clock that goes while the controller does.
fn renewals(count: usize) {
    let path = "--output=jsonpath={.spec.renewTime}";
    for _ in 0..count {
        let renewed = || weir(&["get", "lease", "weir-controller", path]);
        let before = renewed();
        until(|| (renewed() != before).then_some(()), "the Lease is not renewed");
    }
}

#[test]
fn one_replica_writes_statuses_and_another_goes_on_when_it_is_killed() {
    let _alone = alone();
    let shop = labelled("lease");
    shop.pod("app", NODES[0], APP, SLEEP);
    shop.wait("aibackend/openai", "condition=Programmed");
    let first = holder(None);

    let written = || shop.field("aibackend", "openai", "{.metadata.resourceVersion}");
    let before = written();
    renewals(3);
    assert_eq!(written(), before, "a status is written though nothing changes");

    // Killed, and its pod deleted before it can come back and say that it is the same.
    let node = weir(&["get", "pod", &first, "--output=jsonpath={.spec.nodeName}"]);
    let process = process(&node, &first, "weir-controller");
    Cluster::shared().on_node(&node, &["kill", "-KILL", &process]);
    weir(&["delete", "pod", &first, "--grace-period=0", "--force"]);
    shop.apply(
        "{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {name: late}, spec: {targetRefs: [{kind: Workload}], models: {denied: ['o1*']}}}",
    );
    let second = holder(Some(&first));
    shop.wait("aipolicy/late", "condition=Programmed");
    assert_eq!(holder(Some(&first)), second);
    weir(&[
        "rollout",
        "status",
        "deployment/weir-controller",
        "--timeout=120s",
    ]);
}
