//! Agents are replaced, and the controller goes away, under load with open streams.

use weir_tests::cluster::{Document, Namespace};

use crate::program::Program;
use crate::shop::{APP, agent_on, labelled};
use crate::starts::Starts;
use crate::{NODES, SLEEP, alone, weir};

const LOAD: &str = include_str!("load.py");

/// Load in a pod on each node.
fn load<'a>(shop: &'a Namespace<'static>) -> Vec<Program<'a>> {
    for node in NODES {
        shop.pod(&format!("load-{node}"), node, APP, SLEEP);
    }
    let start = |node: &str| Program::start(shop, &format!("load-{node}"), LOAD);
    let mut programs: Vec<Program<'_>> = NODES.into_iter().map(start).collect();
    for program in &mut programs {
        program.wait_for(|line| line == "begun");
    }
    programs
}

/// Ends it, and counts what became of it.
fn assert_nothing_was_lost(programs: Vec<Program<'_>>) {
    for program in programs {
        let lines = program.stop();
        let counted: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        let number = |name: &str| counted[name].as_u64().unwrap();
        assert!(
            counted["failures"].as_array().unwrap().is_empty()
                && number("calls") > 0
                && number("streams") > 0,
            "{counted}"
        );
    }
}

fn agents() -> Vec<String> {
    NODES.into_iter().map(agent_on).collect()
}

#[test]
fn an_upgrade_as_documented_cuts_nothing_and_refuses_nothing() {
    let _alone = alone();
    let shop = labelled("upgrade");
    let before = agents();
    let programs = load(&shop);
    let starts = Starts::begin(&shop);
    Document::open("upgrade.md").run_all();
    starts.assert_none_got_past();
    assert_nothing_was_lost(programs);
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
    let programs = load(&shop);
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
    assert_nothing_was_lost(programs);
    scale("2");
    weir(&[
        "rollout",
        "status",
        "deployment/weir-controller",
        "--timeout=120s",
    ]);
    // And it is heard again.
    shop.pod("late", NODES[0], APP, SLEEP);
    let said = shop.exec("late", &["python3", "openai_sync.py"]);
    assert!(said.contains("The mock heard"), "{said}");
}
