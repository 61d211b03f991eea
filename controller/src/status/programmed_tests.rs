use std::sync::Arc;

use weir_api::proto::resource::Body;
use weir_api::resource::resource;

use super::*;

const NAME: &str = "shop/openai";

fn wanted_by(nodes: &[&str], key: &str) -> BTreeMap<String, Resources> {
    let backend = resource(NAME, Body::Backend(proto::Backend::default()));
    let credential = proto::Credential {
        state: Some(proto::credential::State::Key(key.to_owned())),
    };
    let resources = Resources::from([
        (Key::new(proto::Kind::Backend, NAME), Arc::new(backend)),
        (
            Key::new(proto::Kind::Credential, NAME),
            Arc::new(resource(NAME, Body::Credential(credential))),
        ),
    ]);
    nodes
        .iter()
        .map(|&node| (node.to_owned(), resources.clone()))
        .collect()
}

/// An agent that has taken all that its node is to hold.
fn agent(node: &str, wanted: &BTreeMap<String, Resources>) -> AgentState {
    AgentState {
        node: node.to_owned(),
        taken: crate::discovery::delta::versions(&wanted[node]),
        ..AgentState::default()
    }
}

fn of_backend(wanted: &BTreeMap<String, Resources>, summaries: &[Summary]) -> Programmed {
    programmed(wanted, summaries)[&Key::new(proto::Kind::Backend, NAME)].clone()
}

#[test]
fn nodes_are_counted_over_all_replicas() {
    let wanted = wanted_by(&["n1", "n2", "n3"], "sk-1");
    let one = summary(&wanted, &[agent("n1", &wanted)]);
    let other = summary(&wanted, &[agent("n2", &wanted)]);
    let now = of_backend(&wanted, &[one.clone(), other]);
    assert_eq!((now.taken, now.needed), (2, 3));
    assert_eq!(of_backend(&wanted, &[one]).taken, 1);
    assert_eq!(of_backend(&wanted, &[]).needed, 3);
}

#[test]
fn a_backend_whose_new_key_is_not_taken_yet_is_not_programmed() {
    let before = wanted_by(&["n1"], "sk-1");
    let after = wanted_by(&["n1"], "sk-2");
    let agent = agent("n1", &before);
    assert_eq!(
        of_backend(&after, &[summary(&after, std::slice::from_ref(&agent))]).taken,
        0
    );
    // Nor is what another replica says that does not know the new key yet.
    assert_eq!(of_backend(&after, &[summary(&before, &[agent])]).taken, 0);
}

#[test]
fn a_node_is_counted_once_and_nodes_that_need_nothing_are_not() {
    let wanted = wanted_by(&["n1"], "sk-1");
    let two_agents = [agent("n1", &wanted), agent("n1", &wanted)];
    let one = summary(&wanted, &two_agents);
    assert_eq!(of_backend(&wanted, std::slice::from_ref(&one)).taken, 1);
    assert_eq!(
        of_backend(&wanted, &[one.clone(), one]).taken,
        1,
        "told of by two replicas"
    );
    let elsewhere = AgentState {
        node: "n9".to_owned(),
        ..agent("n1", &wanted)
    };
    assert_eq!(of_backend(&wanted, &[summary(&wanted, &[elsewhere])]).taken, 0);
}

#[test]
fn a_refusal_is_told_until_the_version_changes() {
    let wanted = wanted_by(&["n1"], "sk-1");
    let key = Key::new(proto::Kind::Backend, NAME);
    let version = wanted["n1"][&key].version.clone();
    let mut agent = agent("n1", &wanted);
    agent.taken.remove(&key);
    agent
        .rejected
        .insert(key.clone(), (version, "upgrade the agent".to_owned()));
    let refused = of_backend(&wanted, &[summary(&wanted, std::slice::from_ref(&agent))]);
    assert_eq!((refused.taken, refused.needed), (0, 1));
    assert_eq!(refused.rejections[0].message, "upgrade the agent");
    agent
        .rejected
        .insert(key, ("another".to_owned(), "upgrade the agent".to_owned()));
    assert!(
        of_backend(&wanted, &[summary(&wanted, &[agent])])
            .rejections
            .is_empty()
    );
}
