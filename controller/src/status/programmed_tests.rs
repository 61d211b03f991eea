use std::sync::Arc;

use weir_api::proto::resource::Body;
use weir_api::resource::resource;

use super::*;

const NAME: &str = "shop/openai";

fn wanted_by(nodes: &[&str], key: &str) -> Wanted {
    let everyone = proto::AllowedNamespaces {
        all: true,
        names: Vec::new(),
    };
    let backend = proto::Backend {
        namespace: "shop".to_owned(),
        name: "openai".to_owned(),
        hosts: vec!["api.openai.com".to_owned()],
        auth: Some(proto::backend::Auth::Credential(NAME.to_owned())),
        allowed_namespaces: Some(everyone),
        // Of the node's own namespace, and not: what stands for the backend differs from node to node.
        policies: vec!["n1/own".to_owned()],
        ..proto::Backend::default()
    };
    let credential = proto::Credential {
        state: Some(proto::credential::State::Key(key.to_owned())),
    };
    let named = |name: &str, body| [(name.to_owned(), Arc::new(resource(name, body)))].into();
    let configuration = Configuration {
        backends: named(NAME, Body::Backend(backend)),
        credentials: named(NAME, Body::Credential(credential)),
        policies: named("n1/own", Body::Policy(proto::Policy::default())),
        leaves: named("api.openai.com", Body::Leaf(proto::Leaf::default())),
        ..Configuration::default()
    };
    let workload = |node: &str| {
        let workload = proto::Workload {
            namespace: node.to_owned(),
            intercept: proto::Intercept::Enabled.into(),
            trusts: true,
            ..proto::Workload::default()
        };
        Arc::new(resource(node, Body::Workload(workload)))
    };
    let nodes: Vec<(String, Workloads)> = nodes
        .iter()
        .map(|&node| (node.to_owned(), [workload(node)].into()))
        .collect();
    Wanted::new(&configuration, &nodes)
}

/// An agent that has taken all that its node is to hold.
fn agent(node: &str, wanted: &Wanted) -> AgentState {
    AgentState {
        node: node.to_owned(),
        taken: crate::discovery::delta::versions(&wanted.nodes[node]),
        ..AgentState::default()
    }
}

fn of_backend(wanted: &Wanted, summaries: &[Summary]) -> Programmed {
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
    let version = wanted.nodes["n1"][&key].version.clone();
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

/// Without it no connection to the backend's host can be opened.
#[test]
fn a_certificate_that_is_refused_is_the_backends_problem() {
    let wanted = wanted_by(&["n1"], "sk-1");
    let leaf = Key::new(proto::Kind::Leaf, "api.openai.com");
    let version = wanted.nodes["n1"][&leaf].version.clone();
    let mut agent = agent("n1", &wanted);
    agent.taken.remove(&leaf);
    let now = |agent: &AgentState| of_backend(&wanted, &[summary(&wanted, std::slice::from_ref(agent))]);
    assert_eq!(now(&agent).taken, 1, "a renewed one is not waited for");
    agent.rejected.insert(leaf, (version, "no key".to_owned()));
    let refused = now(&agent);
    assert_eq!((refused.taken, refused.needed), (0, 1));
    assert_eq!(refused.rejections[0].message, "no key");
}
