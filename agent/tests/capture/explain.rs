//! `weir explain` asks a running agent; what the agent reports of clients that reject our leaf.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use serde_json::Value as Json;

use crate::{
    controller::workload,
    scene::{HOST, Scene, get},
    support::{LOCAL_V4, in_namespace},
};

/// A service that serves models, and that no backend of the tests covers.
const UNCOVERED: &str = "api.cohere.com";

fn explain(scene: &Scene, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .args(["explain", "pod"])
        .args(arguments)
        .arg("--run-root")
        .arg(scene.folder.path());
    scene.finish(command)
}

fn text(scene: &Scene, pod: &str) -> String {
    let output = explain(scene, &[pod]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(scene: &Scene, pod: &str) -> Json {
    let output = explain(scene, &[pod, "--output", "json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Calls a host from the pod, trusting whom the provider does.
fn call(scene: &Scene, host: &str) -> String {
    let own = scene.file("provider-ca.pem");
    scene
        .pod
        .client(&format!("https {LOCAL_V4}:443 {host} {}", own.display()))
}

#[test]
fn a_pod_is_explained_by_the_agent_that_serves_it() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let agent = scene.agent();
        scene.configure(workload(scene.uid(), "till-1"));
        scene.call();

        let said = text(&scene, "shop/till-1");
        for part in [
            "shop/till-1: captured",
            "the namespace is labelled weir.dev/intercept=enabled",
            "service account cashier",
            "open: new connections go straight",
            "weir-system/openai answers for api.openai.com; its key is put in",
            "1 terminated, 0 relayed, 0 refused",
            "1, 0 of them failed",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        let answer = json(&scene, "shop/till-1");
        assert_eq!(answer["state"], "captured");
        assert_eq!(answer["uid"], scene.uid());
        assert_eq!(answer["exchanges"]["total"], 1);
        assert!(!said.contains("sk-real") && !answer.to_string().contains("sk-real"));

        assert!(text(&scene, "shop/host").contains("shop/host: bypassed"));
        let elsewhere = explain(&scene, &["shop/cart"]);
        assert_eq!(elsewhere.status.code(), Some(1));
        let said = String::from_utf8(elsewhere.stdout).unwrap();
        assert!(said.contains("shop/cart: not on this node"), "{said}");
        assert!(said.contains("-- weir explain pod shop/cart"), "{said}");

        // Only root may enter the folder.
        let folder = scene.folder.path().join("agent");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        agent.end();
        assert!(!folder.join("inspection.sock").exists());
        let nobody = explain(&scene, &["shop/till-1"]);
        assert_eq!(nobody.status.code(), Some(125));
        let said = String::from_utf8(nobody.stderr).unwrap();
        assert!(
            said.contains("no agent answers at") && said.contains("kubectl exec"),
            "{said}"
        );
    });
}

#[test]
fn a_pod_without_trust_and_what_it_calls() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let _agent = scene.agent();
        let mut untrusting = workload(scene.uid(), "till-1");
        untrusting.trusts = false;
        scene.configure(untrusting);
        // The provider's certificate is for another host, so that the client leaves: connections are counted all the same.
        call(&scene, UNCOVERED);
        call(&scene, HOST);
        let said = text(&scene, "shop/till-1");
        for part in [
            "shop/till-1: untrusted",
            "kubectl delete pod -n shop till-1",
            "0 terminated, 2 relayed, 0 refused",
            "not covered     AI services that no AIBackend answers for: api.cohere.com (1)",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        let metrics = get("/metrics");
        let series = |name: &str, host: &str| {
            let series = metrics
                .lines()
                .filter(|line| line.starts_with(name) && line.contains(&format!("host=\"{host}\"")));
            series.map(str::to_owned).collect::<Vec<_>>()
        };
        let uncovered = series("weir_uncovered_connections_total", UNCOVERED);
        assert_eq!(
            uncovered,
            [format!(
                "weir_uncovered_connections_total{{k8s_namespace_name=\"shop\",k8s_service_account_name=\"cashier\",host=\"{UNCOVERED}\"}} 1"
            )]
        );
        assert!(
            series("weir_uncovered_connections_total", HOST).is_empty(),
            "{metrics}"
        );
        assert_eq!(series("weir_observed_connections_total", HOST).len(), 1);
        assert_eq!(
            series("weir_observed_bytes_total", HOST).len(),
            2,
            "each direction"
        );
        assert!(!metrics.contains("till-1"), "no pod in metrics");
    });
}

#[test]
fn a_client_that_rejects_our_leaf_is_reported() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let _agent = scene.agent();
        let mut stream = scene.configure(workload(scene.uid(), "till-1"));
        // It trusts somebody else.
        let key = rcgen::KeyPair::generate().unwrap();
        let mut stranger = rcgen::CertificateParams::new(["stranger.example".to_owned()]).unwrap();
        stranger
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a stranger");
        let stranger = stranger.self_signed(&key).unwrap();
        fs::write(scene.file("root.pem"), stranger.pem()).unwrap();
        let said = scene.call();
        assert!(!said.contains("sk-real"), "{said}");
        let distrusts = scene.runtime.block_on(stream.distrusts(true));
        assert_eq!(distrusts.len(), 1);
        let [uid, host, command] = &distrusts[0];
        assert_eq!((uid.as_str(), host.as_str()), (scene.uid(), HOST));
        // The test's own program, or its thread where it had ended before the agent asked for its name.
        assert!(
            command.starts_with("capture") || command == "client::client",
            "{command}"
        );
        let said = text(&scene, "shop/till-1");
        assert!(
            said.contains("does not trust Weir's certificate for api.openai.com"),
            "{said}"
        );
        assert!(said.contains("rejected Weir's certificate"), "{said}");
    });
}
