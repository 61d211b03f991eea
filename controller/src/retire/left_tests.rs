use std::collections::BTreeSet;

use super::*;
use crate::discovery::assemble::Key;

const ASKED: &str = "now";

/// An agent that has taken that there is nothing to capture, and says that it captures these.
fn agent(node: &str, captured: &[&str]) -> AgentState {
    AgentState {
        node: node.to_owned(),
        has_answered: true,
        has_reported: true,
        captured_pods: captured.iter().map(|&uid| uid.to_owned()).collect(),
        ..AgentState::default()
    }
}

fn nodes(names: &[&str]) -> BTreeMap<String, Concerned> {
    let concerned = Concerned {
        has_agent: true,
        pods: vec!["shop/web".to_owned()],
    };
    names
        .iter()
        .map(|&name| (name.to_owned(), concerned.clone()))
        .collect()
}

fn told(agents: &[AgentState]) -> String {
    shown(&left(nodes(&["n1"]), &[released(ASKED, agents)], ASKED))
}

#[test]
fn a_node_is_done_when_its_agent_has_taken_it_and_captures_nothing() {
    assert_eq!(told(&[agent("n1", &[])]), "");
    assert_eq!(
        told(&[agent("n1", &["a", "b"])]),
        "node n1: its agent has not released all pods yet: 2 to go; pods that may be captured: shop/web\n"
    );
}

#[test]
fn an_agent_that_has_just_begun_has_said_nothing_yet() {
    let silent = "node n1: its agent does not answer; pods that may be captured: shop/web\n";
    let unasked = AgentState {
        has_answered: false,
        ..agent("n1", &[])
    };
    let unreported = AgentState {
        has_reported: false,
        ..agent("n1", &[])
    };
    let untaken = AgentState {
        taken: [(Key::new(proto::Kind::Workload, "uid"), "version".to_owned())].into(),
        ..agent("n1", &[])
    };
    for state in [unasked, unreported, untaken] {
        assert_eq!(told(std::slice::from_ref(&state)), silent, "{state:?}");
        assert_eq!(
            told(&[agent("n1", &[]), state.clone()]),
            silent,
            "beside one before it: {state:?}"
        );
    }
    assert_eq!(told(&[agent("n2", &[])]), silent, "another node's");
}

#[test]
fn all_replicas_count_and_only_those_that_know_of_the_order() {
    let (first, second) = (
        released(ASKED, &[agent("n1", &[])]),
        released("before", &[agent("n2", &[])]),
    );
    let names = |left: Vec<Left>| -> BTreeSet<String> { left.into_iter().map(|left| left.node).collect() };
    let both = left(nodes(&["n1", "n2"]), &[first.clone(), second], ASKED);
    assert_eq!(names(both), BTreeSet::from(["n2".to_owned()]));
    let second = released(ASKED, &[agent("n2", &[])]);
    assert_eq!(left(nodes(&["n1", "n2"]), &[first, second], ASKED), []);
}

#[test]
fn a_node_without_an_agent_is_named_for_its_pods() {
    let pods = (0..10).map(|number| format!("shop/web-{number}")).collect();
    let alone = Concerned {
        has_agent: false,
        pods,
    };
    let left = left([("n3".to_owned(), alone)].into(), &[], ASKED);
    let text = shown(&left);
    assert!(
        text.starts_with("node n3: no agent runs there; pods that may be captured: shop/web-0, "),
        "{text}"
    );
    assert!(text.ends_with("shop/web-7 and 2 more\n"), "{text}");
}

#[test]
fn a_large_cluster_is_not_told_whole() {
    let names: Vec<String> = (0..60).map(|number| format!("n{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = shown(&left(nodes(&names), &[], ASKED));
    assert_eq!(text.lines().count(), NODES_AT_MOST + 1);
    assert!(text.ends_with("and 10 nodes more\n"), "{text}");
}
