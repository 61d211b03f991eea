//! What a node's agent is given, and what changes when objects do.

use serde_json::Value as Json;
use weir_tests::cluster::Cluster;

use crate::agent::{AgentPod, Stream, is_removed, upsert};
use crate::objects::{PaperNode, backend, pod, secret};

const AUDIENCE: &str = "weir-controller";

#[test]
fn a_node_is_given_what_its_pods_use_and_no_key_of_another() {
    let cluster = Cluster::shared();
    let (shop, bank) = (cluster.namespace("shop"), cluster.namespace("bank"));
    let host = |of: &str| format!("{of}.example");
    backend(&shop, "openai", &host(shop.name()), "sk-of-shop");
    backend(&bank, "openai", &host(bank.name()), "sk-of-bank");
    pod(&shop, "web", "n1");
    pod(&bank, "web", "n2");
    let agents = [("n1", &shop, &bank), ("n2", &bank, &shop)].map(|(node, own, other)| {
        let agent = AgentPod::on(cluster, node, "given");
        (agent, node, own, other)
    });
    for (agent, node, own, other) in &agents {
        let mut stream = Stream::open(cluster, node, Some(&agent.token(AUDIENCE)), &[]);
        let name = format!("{}/openai", own.name());
        let message = stream.wait(|message| upsert(message, "CREDENTIAL", &name).is_some());
        let key = &upsert(&message, "CREDENTIAL", &name).unwrap()["key"];
        assert!(key == "sk-of-shop" || key == "sk-of-bank");
        assert!(upsert(&message, "BACKEND", &name).is_some());
        let leaf = upsert(&message, "LEAF", &host(own.name())).unwrap();
        assert_eq!(leaf["certificates"], 2, "the leaf and its intermediate");
        let pods: Vec<&Json> = message["upserts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|upsert| &upsert["pod"])
            .collect();
        assert!(pods.iter().any(|pod| **pod == format!("{}/web", own.name())));
        let text = message.to_string();
        assert!(!text.contains(other.name()), "another namespace's: {text}");
    }
}

#[test]
fn a_secret_that_is_rotated_or_deleted_is_told_at_once() {
    let cluster = Cluster::shared();
    let shop = cluster.namespace("rotation");
    let name = format!("{}/openai", shop.name());
    backend(&shop, "openai", &format!("{}.example", shop.name()), "sk-first");
    pod(&shop, "web", "n1");
    let agent = AgentPod::on(cluster, "n1", "rotation");
    let mut stream = Stream::open(cluster, "n1", Some(&agent.token(AUDIENCE)), &[]);
    let mut credential = |key: &str, is: &str| {
        stream.wait(|message| {
            upsert(message, "CREDENTIAL", &name)
                .is_some_and(|credential| credential[key].as_str().unwrap_or_default().contains(is))
        })
    };
    credential("key", "sk-first");
    secret(&shop, "openai", "sk-second");
    let message = credential("key", "sk-second");
    assert!(
        upsert(&message, "BACKEND", &name).is_none(),
        "the backend is as it was: {message}"
    );
    shop.kubectl(&["delete", "secret", "openai"]);
    credential("unresolved", "openai");
    secret(&shop, "openai", "sk-third");
    credential("key", "sk-third");
    shop.kubectl(&["delete", "aibackend", "openai"]);
    let message = stream.wait(|message| is_removed(message, "BACKEND", &name));
    assert!(is_removed(&message, "CREDENTIAL", &name), "{message}");
}

#[test]
fn who_comes_again_is_sent_what_differs() {
    let cluster = Cluster::shared();
    let shop = cluster.namespace("resume");
    let name = format!("{}/openai", shop.name());
    backend(&shop, "openai", &format!("{}.example", shop.name()), "sk-resume");
    pod(&shop, "web", "n2");
    let agent = AgentPod::on(cluster, "n2", "resume");
    let token = agent.token(AUDIENCE);
    let mut stream = Stream::open(cluster, "n2", Some(&token), &[]);
    let message = stream.wait(|message| upsert(message, "CREDENTIAL", &name).is_some());
    drop(stream);
    let held: Vec<String> = ["BACKEND", "CREDENTIAL"]
        .iter()
        .map(|kind| {
            let held = upsert(&message, kind, &name).unwrap();
            format!(
                "--held={}={name}={}",
                held["kind_number"],
                held["version"].as_str().unwrap()
            )
        })
        .chain([format!("--held=1={}/elsewhere=0", shop.name())])
        .collect();
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    let mut stream = Stream::open(cluster, "n2", Some(&token), &held);
    let message = stream.wait(|message| message["snapshot_done"] == true);
    assert!(upsert(&message, "BACKEND", &name).is_none(), "{message}");
    assert!(upsert(&message, "CREDENTIAL", &name).is_none(), "{message}");
    // This replica may be behind the one that gave it.
    let elsewhere = format!("{}/elsewhere", shop.name());
    assert!(!is_removed(&message, "BACKEND", &elsewhere), "{message}");
}

#[test]
fn status_says_what_is_wrong_and_who_has_it() {
    let cluster = Cluster::shared();
    let node = PaperNode::new(cluster, "paper-status");
    let shop = cluster.namespace("status");
    let name = format!("{}/openai", shop.name());
    backend(&shop, "openai", &format!("{}.example", shop.name()), "sk-status");
    let condition = |type_: &str, field: &str| {
        shop.field(
            "aibackend",
            "openai",
            &format!("{{.status.conditions[?(@.type==\"{type_}\")].{field}}}"),
        )
    };
    shop.wait("aibackend/openai", "condition=Accepted");
    assert_eq!(shop.field("aibackend", "openai", "{.status.provider}"), "openai");
    pod(&shop, "web", node.name);
    shop.wait("aibackend/openai", "condition=Programmed=false");
    let agent = AgentPod::on(cluster, node.name, "status");
    let token = agent.token(AUDIENCE);
    {
        let _refusing = Stream::open(cluster, node.name, Some(&token), &["--reject", &name]);
        shop.wait(
            "aibackend/openai",
            "jsonpath={.status.conditions[?(@.type==\"Programmed\")].reason}=Rejected",
        );
        assert!(
            condition("Programmed", "message").contains("node paper-status has refused it"),
            "{}",
            condition("Programmed", "message")
        );
    }
    let mut stream = Stream::open(cluster, node.name, Some(&token), &[]);
    stream.wait(|message| message["snapshot_done"] == true);
    shop.wait("aibackend/openai", "condition=Programmed");
    assert_eq!(condition("Programmed", "message"), "1 of 1 nodes");

    // Another object's status is written meanwhile; this one's is not, for it says the same.
    let version = shop.field("aibackend", "openai", "{.metadata.resourceVersion}");
    shop.apply(
        "apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: broken}
spec: {provider: {openai: {}}, hosts: [status-broken.example], auth: {secretRef: {name: absent}}}
",
    );
    shop.wait("aibackend/broken", "condition=ResolvedRefs=false");
    let message = shop.field(
        "aibackend",
        "broken",
        "{.status.conditions[?(@.type==\"ResolvedRefs\")].message}",
    );
    assert!(message.contains("spec.auth.secretRef"), "{message}");
    assert_eq!(
        shop.field("aibackend", "openai", "{.metadata.resourceVersion}"),
        version
    );

    // As one whose node has vanished: it does not count for ever.
    stream.hang();
    shop.wait("aibackend/openai", "condition=Programmed=false");
    let message = condition("Programmed", "message");
    assert!(message.starts_with("0 of 1 nodes"), "{message}");
}
