//! Agents are replaced, and the controller goes away, under load with open streams.

use weir_tests::cluster::Document;
use weir_tests::cluster::inspection::explained;
use weir_tests::cluster::shop::{APP, agent_on, is_straight, labelled};

use crate::load::Load;
use crate::starts::Starts;
use crate::{NODES, SLEEP, alone, dials, weir};

fn agents() -> Vec<String> {
    NODES.into_iter().map(agent_on).collect()
}

#[test]
fn an_upgrade_as_documented_cuts_nothing_and_refuses_nothing() {
    let _alone = alone();
    let shop = labelled("upgrade");
    let before = agents();
    let counted = || ["captured", "passed"].map(dials);
    let [captured, passed] = counted();
    let load = Load::begin(&shop);
    let starts = Starts::begin(&shop);
    Document::open("upgrade.md").run_all();
    starts.assert_none_got_past();
    let [captured_since, passed_since] = counted();
    assert!(
        captured_since > captured + 200,
        "{captured} to {captured_since}: the kernel's counts outlive agents"
    );
    assert_eq!(passed_since, passed, "have gone past Weir");
    load.assert_nothing_was_lost();
    let after = agents();
    assert!(
        before.iter().all(|agent| !after.contains(agent)),
        "{before:?} {after:?}"
    );
    let taken_over = |agent: &String| weir(&["logs", agent]).contains("taken over from agent");
    assert!(after.iter().all(taken_over));
}

#[test]
fn with_the_controller_away_nothing_changes_and_agents_can_still_be_replaced() {
    let _alone = alone();
    let shop = labelled("away");
    let load = Load::begin(&shop);
    let scale = |replicas: &str| {
        weir(&[
            "scale",
            "deployment/weir-controller",
            &format!("--replicas={replicas}"),
        ])
    };
    scale("0");
    let all = "--selector=app.kubernetes.io/component=controller";
    weir(&["wait", "pods", all, "--for=delete", "--timeout=60s"]);
    weir(&["rollout", "restart", "daemonset/weir-agent"]);
    weir(&["rollout", "status", "daemonset/weir-agent", "--timeout=120s"]);
    load.assert_nothing_was_lost();
    // Nor is a pod held up that begins meanwhile: nobody gives it our root, and nobody tells its node of it.
    shop.pod("unseen", NODES[0], APP, SLEEP);
    assert!(is_straight(&shop, "unseen"));
    scale("2");
    weir(&[
        "rollout",
        "status",
        "deployment/weir-controller",
        "--timeout=120s",
    ]);
    let unseen = explained(NODES[0], &shop, "unseen", |answer| answer["state"] == "untrusted");
    assert!(unseen["mend"].as_str().unwrap().contains("restart"), "{unseen:#}");
    assert!(is_straight(&shop, "unseen"));
    // And it is heard again.
    shop.pod("late", NODES[0], APP, SLEEP);
    let said = shop.exec("late", &["python3", "openai_sync.py"]);
    assert!(said.contains("The mock heard"), "{said}");
}
