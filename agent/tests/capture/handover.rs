//! From one agent to the next, under load: nothing is cut, and nothing refused.

use std::fs;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use weir_api::proto;

use crate::{
    client::PATIENCE,
    controller::{Stream, workload},
    load::{Load, STREAMING},
    scene::{AgentProcess, Scene, get_at},
    support::in_namespace,
};

const NEXT: u16 = 15091;

/// An agent that has the pod, which is under Closed: the smallest gap would be a refusal.
fn closed() -> (Scene, AgentProcess, Stream) {
    let mut scene = Scene::new();
    let mut closed = workload(scene.uid(), "till-1");
    closed.failure_policy = proto::FailurePolicy::Closed.into();
    let first = scene.agent_at(15090);
    let stream = scene.configure(closed);
    (scene, first, stream)
}

/// The same under Open.
fn open() -> (Scene, AgentProcess, Stream) {
    let mut scene = Scene::new();
    let first = scene.agent_at(15090);
    let stream = scene.configure(workload(scene.uid(), "till-1"));
    (scene, first, stream)
}

/// Starts an agent beside the one that has the pods, and returns when it has taken over.
fn next(scene: &mut Scene) -> (AgentProcess, Stream) {
    let next = scene.agent_at(NEXT);
    let stream = inherited(scene);
    (next, stream)
}

/// The stream of an agent that serves by what it has inherited: this controller has said nothing to it.
fn inherited(scene: &mut Scene) -> Stream {
    let uid = scene.uid().to_owned();
    scene.runtime.block_on(async {
        let mut stream = scene.controller.stream().await;
        let held = stream.hello().await.held;
        assert_eq!(held.len(), 4, "{held:?}");
        stream.reports(&[&uid]).await;
        stream
    })
}

/// Only a failing test waits for as long as this.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never holds");
        std::thread::yield_now();
    }
}

fn exchanges(scene: &Scene, log: &str) -> usize {
    fs::read_to_string(scene.file(log)).unwrap().lines().count()
}

#[test]
fn an_upgrade_under_load_cuts_nothing_and_refuses_nothing() {
    in_namespace(|| {
        let (mut scene, first, _stream) = closed();
        let load = Load::start(&scene);
        let (second, _stream) = next(&mut scene);
        let before = exchanges(&scene, "access-15091.log");
        first.signal(Signal::SIGTERM);
        while exchanges(&scene, "access-15091.log") < before + 20 {
            assert!(scene.call().contains("Bearer sk-real"));
        }
        // Only streams are left to the first: whoever was idle has been asked to leave, and has left.
        let open = format!("weir_connections_active {STREAMING}\n");
        until(|| get_at(15090, "/metrics").contains(&open));
        let counted = load.stop(&scene);
        counted.assert_nothing_was_lost();
        first.end();
        assert!(scene.call().contains("Bearer sk-real"));
        let logs = ["agent.log", "agent-15091.log", "access.log", "access-15091.log"];
        for log in logs {
            let text = fs::read_to_string(scene.file(log)).unwrap();
            assert!(!text.contains("sk-real"), "the key is told in {log}");
        }
        second.end();
        assert_eq!(
            scene.call(),
            "ECONNREFUSED",
            "with nobody to hand over to, the policy decides"
        );
        assert!(!scene.file("agent").exists(), "the door goes with the last agent");
    });
}

#[test]
fn a_successor_that_is_killed_or_ends_gives_the_pods_back() {
    in_namespace(|| {
        let (mut scene, first, _stream) = closed();
        let (second, _stream) = next(&mut scene);
        assert!(scene.call().contains("Bearer sk-real"));
        second.kill();
        // From the very first: who listened before has kept the queue.
        for _ in 0..20 {
            assert!(scene.call().contains("Bearer sk-real"));
        }
        let _stream = inherited(&mut scene);
        // And it can be taken over again.
        let (third, _stream) = next(&mut scene);
        assert!(scene.call().contains("Bearer sk-real"));
        // One that ends while the other stands by has somebody to leave the pods to.
        third.end();
        for _ in 0..5 {
            assert!(scene.call().contains("Bearer sk-real"));
        }
        first.end();
        assert_eq!(
            exchanges(&scene, "access.log"),
            25,
            "what was in between was the others' to serve"
        );
    });
}

#[test]
fn an_agent_that_hangs_is_replaced_and_does_no_harm_when_it_wakes() {
    in_namespace(|| {
        let (mut scene, first, _stream) = open();
        assert!(scene.call().contains("Bearer sk-real"));
        first.signal(Signal::SIGSTOP);
        let second = scene.agent_at(NEXT);
        // It inherits nothing: the controller tells it.
        let _stream = scene.configure(workload(scene.uid(), "till-1"));
        assert!(scene.call().contains("Bearer sk-real"));
        first.signal(Signal::SIGCONT);
        first.end();
        for _ in 0..20 {
            assert!(scene.call().contains("Bearer sk-real"));
        }
        let log = fs::read_to_string(scene.file("agent-15091.log")).unwrap();
        assert!(log.contains("did not answer within"), "{log}");
        second.end();
    });
}

/// As after a change of the maps' layout: their version is a folder of its own.
#[test]
fn an_agent_that_pins_elsewhere_waits_for_the_end_and_starts_by_itself() {
    in_namespace(|| {
        let (mut scene, first, _stream) = open();
        let elsewhere = Bpffs::new();
        let second = scene.agent_with(NEXT, elsewhere.0.path());
        let says = |text: &str| {
            let log = fs::read_to_string(scene.file("agent-15091.log")).unwrap();
            log.contains(text)
        };
        until(|| says("starting when the agent that has this node's pods has ended"));
        // Kubernetes ends the first once the second is ready.
        until(|| get_at(NEXT, "/readyz").starts_with("HTTP/1.1 200"));
        assert!(scene.call().contains("Bearer sk-real"));
        first.end();
        let _stream = scene.configure(workload(scene.uid(), "till-1"));
        assert!(scene.call().contains("Bearer sk-real"));
        second.end();
    });
}

/// A second one, for the thread's mount namespace.
struct Bpffs(tempfile::TempDir);

impl Bpffs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kind = Some("bpf");
        mount(kind, folder.path(), kind, MsFlags::empty(), None::<&str>).unwrap();
        Self(folder)
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}
