//! `weir agent` as the DaemonSet runs it, with a controller of the test's own.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use weir_api::proto;

use crate::{
    controller::{Controller, backend, credential, workload},
    scene::{HOST, Scene, get},
    support::{LOCAL_V4, in_namespace},
};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_pod_calls_with_a_key_that_it_does_not_have() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let agent = scene.agent();
        let mut stream = scene.configure(workload(scene.uid(), "till-1"));
        assert!(get("/readyz").starts_with("HTTP/1.1 200"), "{}", get("/readyz"));

        let answer = scene.call();
        assert!(answer.contains(r#""authorization":"Bearer sk-real""#), "{answer}");
        // Dialled from the pod's own namespace: nobody else has that address.
        assert!(answer.contains(&format!(r#""peer":"{LOCAL_V4}""#)), "{answer}");

        // A rotated key is used by the next request.
        let rejections = scene
            .runtime
            .block_on(stream.configure(vec![credential("sk-new")], Vec::new()));
        assert_eq!(rejections, []);
        let answer = scene.call();
        assert!(answer.contains("Bearer sk-new"), "{answer}");

        let metrics = get("/metrics");
        let series = metrics
            .lines()
            .find(|line| line.starts_with("weir_tokens_total") && line.contains(r#"type="input""#));
        let series = series.unwrap_or_else(|| panic!("{metrics}"));
        assert!(
            series.contains(r#"k8s_namespace_name="shop""#) && series.ends_with(" 14"),
            "{series}"
        );
        assert!(!metrics.contains("till-1"), "no pod in metrics");
        agent.end();
        let log = fs::read_to_string(scene.file("access.log")).unwrap();
        for part in [
            r#""k8s.namespace.name":"shop""#,
            r#""k8s.pod.name":"till-1""#,
            r#""k8s.service_account.name":"cashier""#,
        ] {
            assert!(log.contains(part), "{part} in {log}");
        }
        for text in [&log, &metrics, &scene.agent_log()] {
            assert!(!text.contains("sk-real") && !text.contains("sk-new"), "{text}");
        }
    });
}

/// Whoever answers at the controller's address gets neither the token nor a word.
#[test]
fn a_controller_of_another_authority_is_told_nothing() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let own = fs::read(&scene.controller.authorities).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&scene.controller.authorities, other.cert.pem()).unwrap();
        let _agent = scene.agent();
        let refused = async {
            while !scene.agent_log().contains("no connection to https://localhost") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        scene.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, refused).await.unwrap();
        });
        assert!(scene.controller.nobody_has_called());
        // Read anew for each connection.
        fs::write(&scene.controller.authorities, own).unwrap();
        let uid = scene.uid().to_owned();
        scene.configure(workload(&uid, "till-1"));
    });
}

/// As one whose node has vanished: the connection stays, and nobody answers on it any more.
#[test]
fn a_controller_that_falls_silent_is_called_again() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let _agent = scene.agent();
        let _open = scene.configure(workload(scene.uid(), "till-1"));
        // It runs in the test's own runtime, which runs only where something is waited for.
        let deadline = Instant::now() + PATIENCE;
        while !scene.agent_log().contains("the last good configuration stays") {
            assert!(Instant::now() < deadline, "{}", scene.agent_log());
            std::thread::sleep(Duration::from_millis(200));
        }
        let answer = scene.call();
        assert!(answer.contains("Bearer sk-real"), "{answer}");
        let hello = scene.runtime.block_on(async {
            let mut again = scene.controller.stream().await;
            again.hello().await
        });
        assert_eq!(hello.held.len(), 4, "{hello:?}");
    });
}

#[test]
fn without_trust_a_pod_is_observed() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let agent = scene.agent();
        let mut untrusting = workload(scene.uid(), "till-1");
        untrusting.trusts = false;
        let mut stream = scene.configure(untrusting);
        // It meets the provider's own certificate, and its own lack of a key.
        let own = fs::read(scene.file("provider-ca.pem")).unwrap();
        fs::write(scene.file("root.pem"), own).unwrap();
        let answer = scene.call();
        assert!(answer.contains(r#""authorization":"""#), "{answer}");
        let metrics = get("/metrics");
        let series = metrics
            .lines()
            .find(|line| line.starts_with("weir_observed_connections_total"))
            .unwrap_or_else(|| panic!("{metrics}"));
        assert!(
            series.contains(HOST) && series.contains(r#"k8s_service_account_name="cashier""#),
            "{series}"
        );

        // Restarted with trust: intercepted, by the same listener.
        let resources = scene.resources(workload(scene.uid(), "till-1"));
        let rejections = scene.runtime.block_on(stream.configure(resources, Vec::new()));
        assert_eq!(rejections, []);
        let answer = scene.call();
        assert!(answer.contains("Bearer sk-real"), "{answer}");
        agent.end();
    });
}

#[test]
fn a_controller_that_goes_away_changes_nothing() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let agent = scene.agent();
        let stream = scene.configure(workload(scene.uid(), "till-1"));
        let port = scene.controller.address.port();
        let folder = scene.folder.path().to_owned();
        let away = {
            let _inside = scene.runtime.enter();
            Controller::start(&folder, 0)
        };
        let gone = std::mem::replace(&mut scene.controller, away);
        drop(stream);
        scene.runtime.block_on(gone.stop());
        assert!(scene.call().contains("Bearer sk-real"));
        assert!(get("/readyz").starts_with("HTTP/1.1 200"));

        let again = {
            let _inside = scene.runtime.enter();
            Controller::start(&folder, port)
        };
        scene.controller = again;
        let uid = scene.uid().to_owned();
        scene.runtime.block_on(async {
            let mut stream = scene.controller.stream().await;
            let held = stream.hello().await.held;
            let mut kinds: Vec<proto::Kind> = held.iter().map(proto::Held::kind).collect();
            kinds.sort_unstable();
            assert_eq!(
                kinds,
                [
                    proto::Kind::Backend,
                    proto::Kind::Workload,
                    proto::Kind::Credential,
                    proto::Kind::Leaf
                ]
            );
            assert!(held.iter().all(|held| held.version.len() == 64));
            // What is wrong is rejected by name, and the last good stays.
            let mut bad = backend(HOST);
            bad.version = "0".repeat(64);
            let rejections = stream.configure(vec![bad], Vec::new()).await;
            assert_eq!(rejections.len(), 1);
            assert_eq!(rejections[0].name, "weir-system/openai");
            stream.reports(&[&uid]).await;

            // No longer wanted.
            let removal = proto::ResourceName {
                kind: proto::Kind::Workload.into(),
                name: uid.clone(),
            };
            assert_eq!(stream.configure(Vec::new(), vec![removal]).await, []);
            stream.reports(&[]).await;
        });
        // Nobody is captured: at its end the agent leaves nothing.
        agent.end();
        assert!(!scene.node.bpf_root().join("weir").exists());
    });
}

/// It may be that its pods are captured by what the agent before it has pinned.
#[test]
fn an_agent_that_was_told_nothing_leaves_what_is_pinned() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let mut closed = workload(scene.uid(), "till-1");
        closed.failure_policy = proto::FailurePolicy::Closed.into();
        let agent = scene.agent();
        scene.configure(closed);
        agent.kill();
        let agent = scene.agent();
        scene.runtime.block_on(async {
            let mut stream = scene.controller.stream().await;
            assert_eq!(stream.hello().await.held, []);
        });
        agent.end();
        assert_eq!(scene.call(), "ECONNREFUSED", "shut, as its policy says");
        assert!(scene.node.bpf_root().join("weir").exists());
    });
}

/// Which replica of the controller an agent comes to is chance, and one that is behind must not open what is shut.
#[test]
fn a_pod_that_the_controller_does_not_name_stays_shut_until_all_are_to_be_released() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let mut closed = workload(scene.uid(), "till-1");
        closed.failure_policy = proto::FailurePolicy::Closed.into();
        let agent = scene.agent();
        scene.configure(closed);
        agent.kill();

        let agent = scene.agent();
        let mut stream = scene.runtime.block_on(async {
            let mut stream = scene.controller.stream().await;
            stream.hello().await;
            assert_eq!(stream.configure(vec![backend(HOST)], Vec::new()).await, []);
            stream
        });
        ready();
        assert_eq!(scene.call(), "ECONNREFUSED", "shut, as its policy says");
        agent.end();
        assert_eq!(scene.call(), "ECONNREFUSED", "nor does its end open it");

        let agent = scene.agent();
        scene.runtime.block_on(async {
            stream = scene.controller.stream().await;
            stream.hello().await;
            stream.release_all(Vec::new()).await;
        });
        ready();
        let straight = scene.call();
        assert!(
            straight.contains("invalid peer certificate"),
            "the provider's own certificate: {straight}"
        );
        agent.end();
        assert!(!scene.node.bpf_root().join("weir").exists(), "nothing is left");
    });
}

/// Waits until the agent is ready.
fn ready() {
    let deadline = Instant::now() + PATIENCE;
    while !get("/readyz").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "{}", get("/readyz"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_it_is_taken_over_and_removed_by_command() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let mut closed = workload(scene.uid(), "till-1");
        closed.failure_policy = proto::FailurePolicy::Closed.into();
        let agent = scene.agent();
        scene.configure(closed.clone());
        assert!(scene.call().contains("Bearer sk-real"));
        agent.kill();
        assert_eq!(scene.call(), "ECONNREFUSED");

        let agent = scene.agent();
        scene.configure(closed);
        assert!(scene.call().contains("Bearer sk-real"));
        agent.end();
        assert_eq!(
            scene.call(),
            "ECONNREFUSED",
            "an orderly end follows the policy as well"
        );

        let removed = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["agent", "--remove", "--bpf-root"])
            .arg(scene.node.bpf_root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&removed.stderr);
        assert!(removed.status.success() && said.contains("released"), "{said}");
        assert!(!scene.node.bpf_root().join("weir").exists());
        let own = fs::read(scene.file("provider-ca.pem")).unwrap();
        fs::write(scene.file("root.pem"), own).unwrap();
        assert!(
            scene.call().contains(r#""authorization":"""#),
            "the pod's own network works"
        );
    });
}
