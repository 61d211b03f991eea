//! Attempts to get what is another node's, or nobody's.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey};
use serde_json::Value as Json;
use weir_tests::cluster::Cluster;

use crate::agent::{AgentPod, Stream, kubectl_in_weir, upsert};
use crate::objects::{PaperNode, backend, pod};

const AUDIENCE: &str = "weir-controller";

fn refused(cluster: &Cluster, node: &str, token: Option<&str>, code: &str, says: &str) {
    let (ended, message) = Stream::open(cluster, node, token, &["--once"]).refusal();
    assert_eq!(ended, code, "{message}");
    assert!(message.contains(says), "{message}");
}

#[test]
fn without_a_token_nothing_is_told() {
    let cluster = Cluster::shared();
    refused(cluster, "n1", None, "Unauthenticated", "no token");
    refused(
        cluster,
        "n1",
        Some("a.b.c"),
        "Unauthenticated",
        "not valid for audience weir-controller",
    );
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let cluster = Cluster::shared();
    let pod = AgentPod::on(cluster, "n1", "audience");
    for audience in ["https://kubernetes.default.svc.cluster.local", "another"] {
        let token = pod.token(audience);
        refused(
            cluster,
            "n1",
            Some(&token),
            "Unauthenticated",
            "not valid for audience weir-controller",
        );
    }
}

#[test]
fn another_nodes_name_is_refused() {
    let cluster = Cluster::shared();
    let pod = AgentPod::on(cluster, "n1", "name");
    let token = pod.token(AUDIENCE);
    refused(
        cluster,
        "n2",
        Some(&token),
        "PermissionDenied",
        "bound to node n1, but the agent says that it runs on n2",
    );
}

#[test]
fn tokens_of_others_and_of_no_pod_are_refused() {
    let cluster = Cluster::shared();
    let audience = format!("--audience={AUDIENCE}");
    let token = |account: &str| {
        kubectl_in_weir(cluster, &["create", "token", account, &audience])
            .trim()
            .to_owned()
    };
    refused(
        cluster,
        "n1",
        Some(&token("default")),
        "PermissionDenied",
        "only system:serviceaccount:weir-system:weir-agent is given",
    );
    refused(
        cluster,
        "n1",
        Some(&token("weir-agent")),
        "PermissionDenied",
        "not bound to a pod",
    );
}

#[test]
fn the_token_of_a_pod_that_is_gone_is_refused() {
    let cluster = Cluster::shared();
    let pod = AgentPod::on(cluster, "n1", "gone");
    let token = pod.token(AUDIENCE);
    pod.delete();
    let (code, message) = Stream::open(cluster, "n1", Some(&token), &["--once"]).refusal();
    // The API server remembers for some seconds that a token was good; then the controller sees that there is no such pod.
    assert!(
        code == "Unauthenticated" || code == "PermissionDenied",
        "{message}"
    );
}

#[test]
fn a_token_that_has_expired_is_refused_and_ends_the_stream_that_it_opened() {
    let cluster = Cluster::shared();
    let pod = AgentPod::on(cluster, "n1", "expired");
    let token = pod.token(AUDIENCE);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    refused(
        cluster,
        "n1",
        Some(&ending_at(cluster, &token, now - 60)),
        "Unauthenticated",
        "not valid",
    );
    let mut stream = Stream::open(cluster, "n1", Some(&ending_at(cluster, &token, now + 20)), &[]);
    stream.wait(|message| message["snapshot_done"] == true);
    loop {
        let message = stream.next();
        if let Some(end) = message.get("end") {
            assert_eq!(end, "Unauthenticated", "{message}");
            assert!(
                message["message"]
                    .as_str()
                    .unwrap()
                    .contains("the token has expired"),
                "{message}"
            );
            break;
        }
    }
}

/// A kubelet's credentials are good for an object of a static pod in any namespace, as long as its own node runs it.
#[test]
fn a_static_pod_gives_its_node_no_key_of_the_namespace_that_it_claims() {
    let cluster = Cluster::shared();
    let node = PaperNode::new(cluster, "paper-static");
    let (bank, shop) = (cluster.namespace("claimed"), cluster.namespace("placed"));
    backend(&bank, "openai", &format!("{}.example", bank.name()), "sk-claimed");
    bank.wait("aibackend/openai", "condition=Accepted");
    let uid = cluster.kubectl(&["get", "node", node.name, "--output=jsonpath={.metadata.uid}"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let claimed = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: claimed
  namespace: {}
  annotations: {{weir.dev/injected: '1', kubernetes.io/config.mirror: a}}
  labels: {{weir.dev/intercept: enabled}}
  ownerReferences: [{{apiVersion: v1, kind: Node, name: {node}, uid: {uid}, controller: true}}]
spec: {{nodeName: {node}, containers: [{{name: app, image: 'weir.test/busybox:1'}}], tolerations: [{{operator: Exists}}]}}
",
        bank.name(),
        node = node.name
    );
    std::fs::write(file.path(), claimed).unwrap();
    cluster.kubectl(&[
        &format!("--as=system:node:{}", node.name),
        "--as-group=system:nodes",
        "create",
        "--validate=false",
        "--filename",
        &file.path().display().to_string(),
    ]);
    let given = bank.field("pod", "claimed", "{.spec.initContainers}{.spec.volumes}");
    assert_eq!(given, "", "the webhook leaves it as it is");

    // What is placed after it is told; it is not, nor anything of its namespace.
    let name = format!("{}/openai", shop.name());
    backend(&shop, "openai", &format!("{}.example", shop.name()), "sk-placed");
    pod(&shop, "web", node.name);
    let agent = AgentPod::on(cluster, node.name, "static");
    let mut stream = Stream::open(cluster, node.name, Some(&agent.token(AUDIENCE)), &[]);
    stream.wait(|message| {
        let text = message.to_string();
        assert!(
            !text.contains(bank.name()) && !text.contains("sk-claimed"),
            "{text}"
        );
        upsert(message, "CREDENTIAL", &name).is_some()
    });
}

/// The same token with another end, signed by the cluster's own key: the API server issues none that ends within ten minutes.
fn ending_at(cluster: &Cluster, token: &str, end: u64) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["exp"] = end.into();
    claims["iat"] = (end - 600).into();
    claims["nbf"] = (end - 600).into();
    let signed = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    let pem = std::fs::read_to_string(cluster.paths().pki().join("service-accounts.key")).unwrap();
    let key = KeyPair::from_pem(&pem).unwrap();
    let signature = fixed(&key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// ECDSA's two numbers, of 32 bytes each, out of their DER encoding: as JWS wants them (RFC 7518 §3.4).
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        fixed.extend(std::iter::repeat_n(0, 32 - number.len()));
        fixed.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    fixed
}
