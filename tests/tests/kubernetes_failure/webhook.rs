//! The webhook does not answer: pods start all the same, they are shown as untrusted, and `helm test` says so.

use weir_tests::cluster::inspection::explained;
use weir_tests::cluster::shop::{APP, is_straight, labelled};
use weir_tests::cluster::{Cluster, Namespace, WEIR_NAMESPACE, told};

use crate::{NODES, SLEEP, alone};

/// The API server asks at a path where nobody answers, until this is dropped.
struct Broken;

impl Broken {
    fn now() -> Self {
        ask_at("/nowhere");
        Self
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        ask_at("/mutate");
    }
}

fn ask_at(path: &str) {
    let change = |webhook: usize| {
        let field = format!("/webhooks/{webhook}/clientConfig/service/path");
        serde_json::json!({"op": "replace", "path": field, "value": path})
    };
    let patch = serde_json::json!([change(0), change(1)]).to_string();
    let webhook = "mutatingwebhookconfiguration/weir-webhook";
    Cluster::shared().kubectl(&["patch", webhook, "--type=json", "--patch", &patch]);
}

/// What the API server asks, it takes from a cache.
fn until_pods_are_changed(shop: &Namespace<'_>, changed: bool) {
    let run = ["run", "try", "--image=none", "--dry-run=server", "--output=yaml"];
    while shop.kubectl(&run).contains("weir-capture-check") != changed {}
}

#[test]
fn with_a_dead_webhook_pods_start_and_are_untrusted_and_the_charts_test_fails_and_leaves_nothing() {
    let _alone = alone();
    let shop = labelled("dead");
    let broken = Broken::now();
    until_pods_are_changed(&shop, false);
    shop.pod("unseen", NODES[0], APP, SLEEP);
    let answer = explained(NODES[0], &shop, "unseen", |answer| answer["state"] == "untrusted");
    assert!(answer["mend"].as_str().unwrap().contains("restart"), "{answer:#}");
    assert!(is_straight(&shop, "unseen"));

    let mut test = Cluster::shared().command("helm");
    test.args(["--namespace", WEIR_NAMESPACE, "test", "weir"]);
    let output = test.output().unwrap();
    let said = told(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("this pod was not given Weir's root to trust") && said.contains("port 15017"),
        "{said}"
    );
    let left = ["get", "namespace", "weir-test", "--ignore-not-found"];
    assert_eq!(Cluster::shared().kubectl(&left), "");

    drop(broken);
    until_pods_are_changed(&shop, true);
    let output = test.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(Cluster::shared().kubectl(&left), "");
}
