//! Who has told a key: nobody, of all that speaks in a cluster in which all other tests have been.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use weir_tests::cluster::inspection::in_agent;
use weir_tests::cluster::{Cluster, Namespace, PROVIDER_KEY, WEIR_NAMESPACE, told};
use weir_tests::search::Secrets;

const NODES: [&str; 2] = ["n1", "n2"];

/// What somebody has said.
struct Speech {
    whose: String,
    text: String,
}

fn speech(whose: impl Into<String>, text: String) -> Speech {
    let whose = whose.into();
    Speech { whose, text }
}

/// Asserts that no key of a provider's, and no private key of Weir's, stands in any log, event, object but Secrets, metric or answer. The pods, `pod`
/// with its node, are of applications that call with a key that only Weir has.
pub(crate) fn assert_told_by_nobody(shop: &Namespace<'_>, pods: &[(&str, &str)]) {
    let secrets = secrets();
    let mut all = logs(shop);
    all.extend(objects());
    all.extend(metrics());
    all.extend(answers(shop, pods));
    for Speech { whose, text } in &all {
        assert!(!text.is_empty(), "{whose}: nothing");
        let told = secrets.told_by(text);
        // The mock provider's own workload has its key as an argument, as the provider that it stands for knows its own.
        let told: Vec<_> = told.iter().filter(|told| !told.line.contains("--key=")).collect();
        assert!(told.is_empty(), "{whose}: {told:?}");
    }
}

/// The provider's key, and each private key of Weir's by the first line of its own.
fn secrets() -> Secrets {
    let listed = kubectl(&["get", "secrets", "--namespace", WEIR_NAMESPACE, "--output=json"]);
    let listed: Json = serde_json::from_str(&listed).unwrap();
    let mut secrets = Secrets::private_keys().with("the provider's key", PROVIDER_KEY.as_bytes());
    let mut keys = 0;
    for secret in listed["items"].as_array().unwrap() {
        let name = secret["metadata"]["name"].as_str().unwrap();
        for value in secret["data"]
            .as_object()
            .into_iter()
            .flat_map(|data| data.values())
        {
            let value = STANDARD.decode(value.as_str().unwrap()).unwrap();
            let value = String::from_utf8(value).unwrap_or_default();
            let Some((_, key)) = value.split_once("PRIVATE KEY-----\n") else {
                continue;
            };
            keys += 1;
            secrets = secrets.with(name, key.lines().next().unwrap().as_bytes());
        }
    }
    // The interception root's, the control plane's and the webhook's.
    assert!(keys >= 3, "{keys} private keys");
    secrets
}

fn kubectl(arguments: &[&str]) -> String {
    Cluster::shared().kubectl(arguments)
}

/// Of all containers, also those that were there before: the files that the kubelet keeps; and of Kubernetes itself.
fn logs(shop: &Namespace<'_>) -> Vec<Speech> {
    let cluster = Cluster::shared();
    // The mock provider's are what it was asked, key and all.
    let all = "cd /var/log/pods && find . -type f -not -path './providers_*' -exec cat {} +";
    let mut logs: Vec<Speech> = NODES
        .into_iter()
        .map(|node| {
            speech(
                format!("containers on {node}"),
                cluster.on_node(node, &["sh", "-c", all]),
            )
        })
        .collect();
    let exchanges = format!("\"k8s.namespace.name\":\"{}\"", shop.name());
    assert!(
        logs.iter().any(|log| log.text.contains(&exchanges)),
        "no access log is among them"
    );
    for entry in fs::read_dir(cluster.paths().logs()).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        if !text.is_empty() {
            logs.push(speech(path.display().to_string(), text));
        }
    }
    logs
}

/// All of them, with their status and their events, but Secrets.
fn objects() -> [Speech; 1] {
    let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "secrets").collect();
    assert!(
        kinds.contains(&"events") && kinds.contains(&"aibackends.weir.dev"),
        "{kinds:?}"
    );
    let all = ["get", &kinds.join(","), "--all-namespaces", "--output=json"];
    [speech("objects", kubectl(&all))]
}

/// Of the agent on each node, and of each replica of the controller.
fn metrics() -> Vec<Speech> {
    let namespace = format!("--namespace={WEIR_NAMESPACE}");
    // One that another has taken over from may still be ending.
    let that_stay = "--output=go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}";
    let of = |component: &str, port: u16| {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        let pods = kubectl(&["get", "pods", &namespace, &selector, that_stay]);
        let names: Vec<String> = pods.split_whitespace().map(str::to_owned).collect();
        assert_eq!(names.len(), 2, "{component}: {pods}");
        names.into_iter().map(move |pod| {
            let path = format!("/api/v1/namespaces/{WEIR_NAMESPACE}/pods/{pod}:{port}/proxy/metrics");
            speech(format!("metrics of {pod}"), kubectl(&["get", "--raw", &path]))
        })
    };
    of("agent", 15090).chain(of("controller", 15014)).collect()
}

/// What agents answer, and what an application sees around it.
fn answers(shop: &Namespace<'_>, pods: &[(&str, &str)]) -> Vec<Speech> {
    let mut answers = Vec::new();
    for output in ["--output=text", "--output=json"] {
        for node in NODES {
            let said = told(&in_agent(node, &["doctor", output]));
            answers.push(speech(format!("weir doctor on {node}"), said));
        }
        for (pod, node) in pods {
            let name = format!("{}/{pod}", shop.name());
            let said = told(&in_agent(node, &["explain", "pod", &name, output]));
            assert!(said.contains("openai"), "{said}");
            answers.push(speech(format!("weir explain pod {name}"), said));
        }
    }
    for (pod, _) in pods {
        answers.push(speech(format!("{pod}'s environment"), shop.exec(pod, &["env"])));
    }
    answers
}
