//! `weir doctor` on the real kernel: a node with an agent, and without; and a machine for `weir run`.

use std::{
    fs,
    process::{Command, Output},
};

use crate::{
    controller::workload,
    scene::{CAPABILITIES, Scene},
    support::in_namespace,
};

/// As `kubectl exec` runs it: with the capabilities that the chart gives, or fewer.
fn doctor(scene: &Scene, capabilities: &str) -> Output {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .arg(env!("CARGO_BIN_EXE_weir"))
        .args(["doctor", "--for", "agent", "--run-root"])
        .arg(scene.folder.path());
    scene.finish(command)
}

/// The lines of the checks that failed.
fn failed(output: &Output) -> Vec<String> {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!said.is_empty(), "{output:?}");
    let failed: Vec<String> = said
        .lines()
        .filter(|line| line.starts_with("FAILED"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        output.status.code(),
        Some(i32::from(!failed.is_empty())),
        "{said}"
    );
    failed
}

#[test]
fn a_node_that_is_well() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let _agent = scene.agent();
        let _stream = scene.configure(workload(scene.uid(), "till-1"));
        let output = doctor(&scene, CAPABILITIES);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let [token] = failed(&output).try_into().unwrap_or_else(|_| panic!("{said}"));
        assert!(
            token.contains("no service account token"),
            "the test's is none: {token}"
        );
        for part in [
            "ok      linux: ",
            "ok      programs: the kernel takes all 8",
            "ok      capabilities: CAP_BPF (to load programs and maps)",
            "ok      open files: ",
            "ok      bpffs: mounted at ",
            "ok      cgroup2: 1 pods of this node are to be seen",
            "ok      agent: version 0.1.0 on n1, ready",
            "ok      heartbeat: ",
            "ok      pods: 1 captured, each with its programs and its listener",
            "ok      controller's CA: ",
            "ok      controller: https://localhost:",
            "ok      configuration: last taken ",
            "ok      certificates: for 1 hosts",
            "ok      public roots: ",
            "ok      clock: ",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert!(!said.contains("sk-real") && !said.contains("the-token"), "{said}");
    });
}

#[test]
fn what_is_missing_is_named_with_its_mend() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let agent = scene.agent();
        let _stream = scene.configure(workload(scene.uid(), "till-1"));

        let few = failed(&doctor(&scene, "+sys_admin,+sys_ptrace"));
        let capabilities = few.iter().find(|line| line.contains("capabilities:")).unwrap();
        assert!(
            capabilities.contains("CAP_NET_ADMIN (to attach them, and mark the listener)")
                && capabilities.contains("DaemonSet"),
            "{capabilities}"
        );

        // A program that somebody has detached.
        let pins = scene.node.pins();
        let connect = pins.iter().find(|pin| pin.ends_with("weir_connect4")).unwrap();
        fs::remove_file(connect).unwrap();
        let lines = failed(&doctor(&scene, CAPABILITIES));
        let pods = lines.iter().find(|line| line.contains("pods:")).unwrap();
        assert!(
            pods.contains("shop/till-1: the program weir_connect4 is not attached")
                && pods.contains("kubectl delete pod"),
            "{pods}"
        );

        fs::remove_file(scene.file("token")).unwrap();
        let lines = failed(&doctor(&scene, CAPABILITIES));
        for name in ["token", "controller"] {
            let line = lines
                .iter()
                .find(|line| line.contains(&format!("  {name}: ")))
                .unwrap();
            assert!(line.contains("kubelet projects it"), "{line}");
        }

        agent.kill();
        let lines = failed(&doctor(&scene, CAPABILITIES));
        let line = lines.iter().find(|line| line.contains("agent: ")).unwrap();
        assert!(line.contains("no agent answers at"), "{line}");
    });
}

#[test]
fn a_machine_for_weir_run() {
    in_namespace(|| {
        let state = tempfile::tempdir().unwrap();
        let doctor = |state: &std::path::Path| {
            Command::new(env!("CARGO_BIN_EXE_weir"))
                .args(["doctor", "--for", "run", "--state-dir"])
                .arg(state)
                .output()
                .unwrap()
        };
        let output = doctor(state.path());
        assert_eq!(failed(&output), Vec::<String>::new());
        let said = String::from_utf8(output.stdout).unwrap();
        for part in [
            "ok      capture: a cgroup was made, captured and removed again",
            "the first run makes it",
        ] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        assert!(!said.contains("bpffs"), "only what matters there: {said}");
        assert_eq!(
            fs::read_dir(state.path()).unwrap().count(),
            0,
            "looking makes nothing"
        );

        fs::write(state.path().join("root.pem"), "nothing").unwrap();
        let lines = failed(&doctor(state.path()));
        assert!(
            lines.len() == 1
                && lines[0].contains("root certificate")
                && lines[0].contains("next run makes a new root"),
            "{lines:?}"
        );
    });
}
