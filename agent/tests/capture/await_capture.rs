//! `weir await-capture`, as a pod's init container and as `helm test` runs it.

use std::{fs, io::Read, process::Command};

use crate::{
    controller::workload,
    scene::{HOST, Scene},
    support::{LOCAL_V4, in_namespace},
};

fn await_capture(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("await-capture").args(arguments);
    scene.pod.command(&command)
}

#[test]
fn await_capture_waits_for_the_agent() {
    in_namespace(|| {
        let mut scene = Scene::new();
        // Nobody is there: Open goes on after its limit.
        let output = await_capture(&scene, &["--fail", "open", "--limit", "1s"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("going on without Weir"),
            "{said}"
        );

        let mut waiting = await_capture(&scene, &["--fail", "closed"]).spawn().unwrap();
        let _agent = scene.agent();
        let mut observed = workload(scene.uid(), "till-1");
        observed.trusts = false;
        scene.configure(observed);
        assert!(waiting.wait().unwrap().success());
        let mut said = String::new();
        waiting.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("captured as shop/till-1 on n1: observed"), "{said}");
    });
}

/// The status of `await-capture --intercepted`, and what it says. Names are as in `hosts`, which stands for the cluster's DNS.
fn intercepted(scene: &Scene, limit: &str, hosts: &str) -> (Option<i32>, String) {
    let file = scene.file("hosts");
    fs::write(&file, hosts).unwrap();
    let mut weir = Command::new("unshare");
    let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    weir.args(["--mount", "sh", "-ec", script, "sh"]).arg(&file);
    weir.arg(env!("CARGO_BIN_EXE_weir"));
    weir.args(["await-capture", "--intercepted", "--limit", limit, "--root"]);
    weir.arg(scene.file("root.crt"));
    let output = scene.pod.command(&weir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn await_capture_tells_a_pod_that_is_intercepted_from_one_that_is_only_captured() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let root = scene.file("root.crt");
        let fails = |scene: &Scene, says: &str| {
            let (status, said) = intercepted(scene, "1s", "");
            assert_eq!(status, Some(1), "{said}");
            assert!(said.contains(says), "{said}");
        };
        fails(&scene, "the webhook did not change the pod");
        fs::write(&root, "").unwrap();
        fails(&scene, "no certificate in the PEM");
        fs::copy(scene.file("provider-ca.pem"), &root).unwrap();
        fails(&scene, "is the weir-agent pod of this node ready");

        let _agent = scene.agent();
        let mut untrusting = workload(scene.uid(), "till-1");
        untrusting.trusts = false;
        scene.configure(untrusting);
        fails(
            &scene,
            "for it was not given our root to trust; it had to be intercepted",
        );
    });
}

#[test]
fn await_capture_calls_the_providers_of_a_pod_that_is_intercepted() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let _agent = scene.agent();
        scene.configure(workload(scene.uid(), "till-1"));
        fs::copy(scene.file("root.pem"), scene.file("root.crt")).unwrap();
        let (status, said) = intercepted(&scene, "60s", &format!("{LOCAL_V4} {HOST}\n"));
        assert_eq!(status, Some(0), "{said}");
        for link in [
            "captured as shop/till-1 on n1: intercepted",
            "api.openai.com: opened with a certificate of Weir's, and answered by the provider with the key of AIBackend weir-system/openai (200)",
        ] {
            assert!(said.contains(link), "{said}");
        }

        let fails = |hosts: &str, says: &str| {
            let (status, said) = intercepted(&scene, "60s", hosts);
            assert_eq!(status, Some(1), "{said}");
            assert!(said.contains(says) && said.contains("1 of 1 hosts"), "{said}");
        };
        fails("", "api.openai.com can't be resolved");
        // Nobody is there: Weir says so.
        fails(
            &format!("203.0.113.99 {HOST}\n"),
            "AIBackend weir-system/openai: Weir itself answers 502",
        );
        // Whoever answers with another certificate is not Weir.
        fs::copy(scene.file("provider-ca.pem"), scene.file("root.crt")).unwrap();
        fails(
            &format!("{LOCAL_V4} {HOST}\n"),
            "its certificate is not of Weir's root",
        );
    });
}
