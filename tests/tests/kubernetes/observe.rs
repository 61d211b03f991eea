//! What Weir says without opening anything: observed namespaces, `weir explain`, `weir doctor`, clients that reject our certificate.

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use weir_tests::cluster::inspection::{explain, explained, in_agent};
use weir_tests::cluster::shop::{APP, access_log, agent_on, labelled, metrics};
use weir_tests::cluster::{Cluster, Document, Namespace};

const SLEEP: &str = "command: [sleep, infinity]";

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that trusts nobody.
const DISTRUSTING: &str = "import socket, ssl
plain = socket.create_connection(('api.openai.com', 443))
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(plain, server_hostname='api.openai.com')";

/// The series of a metric that are of this namespace.
fn series(node: &str, metric: &str, namespace: &Namespace<'_>) -> Vec<String> {
    metrics(&agent_on(node))
        .lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")) && line.contains(namespace.name()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_documents_commands_say_what_it_says_they_do() {
    let shop = labelled("looking");
    shop.pod("app", "n2", APP, SLEEP);
    shop.exec("app", &["python3", "openai_sync.py"]);
    let said = Document::open("observe.md")
        .for_namespace(shop.name())
        .run_as_one();
    for part in [
        format!("{}/app: ", shop.name()),
        "node            n2\n".to_owned(),
        "1 terminated".to_owned(),
        ", 0 of them failed\n".to_owned(),
        "ok      controller: https://weir-controller.weir-system.svc:15010/ answers".to_owned(),
        "ok      pods: ".to_owned(),
        "ok      token: ".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} in\n{said}");
    }
    assert!(!said.contains("FAILED"), "{said}");
}

#[test]
fn every_pod_is_explained() {
    let shop = labelled("explained");
    let plain = Cluster::shared().namespace("unlabelled");
    shop.pod("app", "n1", APP, SLEEP);
    plain.pod("app", "n1", APP, SLEEP);
    shop.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  nodeSelector: {kubernetes.io/hostname: n1}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: host, image: 'weir.test/app-python:1', imagePullPolicy: Never, command: [sleep, infinity]}
",
    );
    shop.wait("pod/host", "condition=Ready");

    let captured = explained("n1", &shop, "app", |answer| answer["state"] == "captured");
    assert_eq!(captured["backends"][0]["name"], format!("{}/openai", shop.name()));
    assert_eq!(captured["backends"][0]["credential"], "resolved");
    assert_eq!(captured["label"]["of"], "namespace");
    assert_eq!(captured["label"]["value"], "enabled");
    let bypassed = explain("n1", &shop, "host");
    assert_eq!(bypassed["state"], "bypassed", "{bypassed:#}");
    assert!(bypassed["why"].as_str().unwrap().contains("hostNetwork"));
    let unlabelled = explain("n1", &plain, "app");
    assert_eq!(unlabelled["state"], "bypassed", "{unlabelled:#}");
    assert!(
        unlabelled["mend"]
            .as_str()
            .unwrap()
            .contains("kubectl label namespace")
    );

    // A label that comes after the pod: it was not given our root.
    plain.kubectl(&["label", "namespace", plain.name(), "weir.dev/intercept=enabled"]);
    let untrusted = explained("n1", &plain, "app", |answer| answer["state"] == "untrusted");
    assert!(
        untrusted["mend"].as_str().unwrap().contains("restart"),
        "{untrusted:#}"
    );

    // Asked on another node, the answer is a command that asks on the right one.
    let name = format!("{}/app", shop.name());
    let elsewhere = in_agent("n2", &["explain", "pod", &name, "--output=json"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    let elsewhere: Json = serde_json::from_slice(&elsewhere.stdout).unwrap();
    assert_eq!(elsewhere["state"], "elsewhere");
    let mend = elsewhere["mend"].as_str().unwrap();
    let (_, command) = mend.split_once(": ").unwrap();
    let output = Cluster::shared()
        .command("sh")
        .args(["-c", command])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(&format!("{name}: captured")),
        "{command}\n{output:?}"
    );
}

#[test]
fn an_observed_namespace_is_counted_and_not_opened() {
    let shop = Cluster::shared().namespace("observed");
    shop.kubectl(&["label", "namespace", shop.name(), "weir.dev/intercept=observe"]);
    shop.pod("app", "n1", APP, SLEEP);
    shop.apply(
        "{apiVersion: weir.dev/v1alpha1, kind: AIBackend, metadata: {name: own}, spec: {provider: {anthropic: {}}, auth: {passthrough: {}}}}",
    );
    explained("n1", &shop, "app", |answer| {
        answer["state"] == "observed" && answer["covered_hosts"][0] == "api.anthropic.com"
    });
    // Nothing was put into it.
    assert!(!shop.exec("app", &["env"]).contains("/etc/weir"));
    let call = |host: &str| {
        let url = format!("https://{host}/v1/models");
        shop.exec(
            "app",
            &[
                "curl",
                "--silent",
                "--insecure",
                "--show-error",
                "--verbose",
                "--stderr",
                "-",
                &url,
            ],
        )
    };
    let said = call("api.openai.com");
    assert!(
        said.contains("issuer:") && !said.to_lowercase().contains("weir"),
        "the provider's own: {said}"
    );

    let connections = series("n1", "weir_observed_connections_total", &shop);
    assert_eq!(connections.len(), 1, "{connections:?}");
    for part in [
        "k8s_service_account_name=\"default\"",
        "host=\"api.openai.com\"",
        "} 1",
    ] {
        assert!(connections[0].contains(part), "{connections:?}");
    }
    let bytes = series("n1", "weir_observed_bytes_total", &shop);
    assert_eq!(bytes.len(), 2, "{bytes:?}");
    assert!(
        bytes
            .iter()
            .all(|line| !line.ends_with(" 0") && !line.contains("app-")),
        "{bytes:?}"
    );
    let uncovered = series("n1", "weir_uncovered_connections_total", &shop);
    assert!(
        uncovered.len() == 1 && uncovered[0].contains("host=\"api.openai.com\""),
        "{uncovered:?}"
    );
    assert!(access_log(&agent_on("n1"), shop.name()).is_empty());
    let answer = explain("n1", &shop, "app");
    assert_eq!(answer["connections"]["relayed"], 1, "{answer:#}");
    assert_eq!(answer["uncovered_hosts"][0]["host"], "api.openai.com");

    // A backend of its own covers this one, though the node is sent none for pods that are only observed.
    call("api.anthropic.com");
    let answer = explain("n1", &shop, "app");
    assert_eq!(answer["connections"]["relayed"], 2, "{answer:#}");
    assert_eq!(
        answer["uncovered_hosts"].as_array().unwrap().len(),
        1,
        "{answer:#}"
    );
    assert_eq!(answer["backends"], Json::Null, "{answer:#}");
}

#[test]
fn an_ai_service_that_no_backend_covers_is_listed() {
    let shop = labelled("uncovered");
    shop.pod("app", "n2", APP, SLEEP);
    shop.exec(
        "app",
        &[
            "curl",
            "--silent",
            "--insecure",
            "https://api.anthropic.com/v1/models",
        ],
    );
    shop.exec("app", &["python3", "openai_sync.py"]);
    let uncovered = series("n2", "weir_uncovered_connections_total", &shop);
    assert!(
        uncovered.len() == 1
            && uncovered[0].contains("host=\"api.anthropic.com\"")
            && uncovered[0].ends_with(" 1"),
        "{uncovered:?}"
    );
    let answer = explain("n2", &shop, "app");
    assert_eq!(
        answer["uncovered_hosts"][0]["host"], "api.anthropic.com",
        "{answer:#}"
    );
    assert_eq!(
        answer["uncovered_hosts"].as_array().unwrap().len(),
        1,
        "{answer:#}"
    );
}

#[test]
fn a_client_that_rejects_our_certificate_is_an_event_of_its_pod() {
    let shop = labelled("rejecting");
    shop.pod("app", "n1", APP, SLEEP);
    let output = shop.exec_output("app", &["python3", "-c", DISTRUSTING]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CERTIFICATE_VERIFY_FAILED"), "{said}");

    let deadline = Instant::now() + PATIENCE;
    let events = loop {
        let selector = "--field-selector=reason=CertificateRejected";
        let events = shop.kubectl(&["get", "events", selector, "--output=wide"]);
        if events.contains("CertificateRejected") {
            break events;
        }
        assert!(Instant::now() < deadline, "no event has come");
    };
    assert!(
        events.contains("pod/app") && events.contains("\"python3") && events.contains("api.openai.com"),
        "{events}"
    );
    let answer = explain("n1", &shop, "app");
    assert_eq!(answer["rejections"][0]["host"], "api.openai.com", "{answer:#}");
    assert!(
        answer["rejections"][0]["command"]
            .as_str()
            .unwrap()
            .starts_with("python3")
    );
}
