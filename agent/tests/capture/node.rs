//! Many pods of a node: enrolled, released, taken over from an agent before.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
};

use tokio::{io::AsyncWriteExt, runtime::Runtime};
use weir_agent::capture::{
    CaptureSettings, Cgroup, FailurePolicy, NodeCapture, PodCapture, PodSandbox,
    pods::{Found, PodWatch, Pods},
};
use weir_agent::network_namespace::NetworkNamespace;

use crate::{
    client::PREFIX,
    pod::{Node, Pod, uid},
    support::{in_namespace, outside},
};

const AWAY: &str = "blocking 198.51.100.7:443";
const ENROLLED: &str = "reached 198.51.100.7:443 for ";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn sandbox(pod: &Pod) -> PodSandbox {
    use std::os::unix::fs::MetadataExt;
    PodSandbox {
        uid: pod.uid.clone(),
        cgroup: pod.cgroup.clone(),
        cgroup_id: pod.cgroup.metadata().unwrap().ino(),
        network_namespace: Arc::new(NetworkNamespace::of_process(Path::new("/proc"), pod.process()).unwrap()),
    }
}

/// Answers with the original destination and the pod that it is answered for.
async fn answer(pod: Arc<PodCapture>, name: String) {
    loop {
        let mut connection = pod.accept().await;
        let text = format!("{} for {name}", connection.origin.destination);
        tokio::spawn(async move {
            let _ = connection.stream.write_all(text.as_bytes()).await;
        });
    }
}

fn reached(pod: &Pod) -> String {
    format!("{ENROLLED}{}, peer 198.51.100.7:443", pod.uid)
}

fn enrol(capture: &NodeCapture, runtime: &Runtime, pod: &Pod, policy: FailurePolicy) -> Arc<PodCapture> {
    let _inside = runtime.enter();
    let enrolled = Arc::new(capture.enrol(&sandbox(pod), policy).unwrap());
    runtime.spawn(answer(Arc::clone(&enrolled), pod.uid.to_string()));
    enrolled
}

/// An agent for all pods that are found, in a process of its own: `agent node POLICY BPFFS CGROUP`.
pub(crate) fn serve(words: &[&str]) {
    let policy = match words[0] {
        "closed" => FailurePolicy::Closed,
        _ => FailurePolicy::Open,
    };
    runtime().block_on(async {
        let capture = NodeCapture::start(&CaptureSettings::default(), Path::new(words[1])).unwrap();
        let watch = PodWatch::start(Some(Path::new(words[2])), Path::new("/proc")).unwrap();
        let mut pods = watch.subscribe();
        let found = pods.borrow_and_update().clone();
        for found in found.values() {
            if let Found::Sandbox(pod) = found {
                let enrolled = capture.enrol(pod, policy).unwrap();
                tokio::spawn(answer(Arc::new(enrolled), pod.uid.to_string()));
            }
        }
        capture.keep_only(|uid| found.contains_key(uid)).unwrap();
        println!("\n{PREFIX}ready");
        // Until its standard input ends, in order; or until it is killed.
        tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop))
            .await
            .unwrap();
    });
}

struct Agent(Child);

impl Agent {
    fn start(policy: &str, node: &Node) -> Self {
        let mut command = outside(&format!(
            "agent node {policy} {} {}",
            node.bpf_root().display(),
            node.cgroup.path().display()
        ));
        let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        output
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with(PREFIX))
            .expect("the agent starts");
        Self(process)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_pod_has_its_own_listener_and_policy() {
    in_namespace(|| {
        let node = Node::new();
        let (open, closed, other) = (node.pod(1), node.pod(2), node.pod(3));
        let runtime = runtime();
        let capture = {
            let _inside = runtime.enter();
            NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap()
        };
        let first = enrol(&capture, &runtime, &open, FailurePolicy::Open);
        enrol(&capture, &runtime, &closed, FailurePolicy::Closed);
        assert_eq!(open.client(AWAY), reached(&open));
        assert_eq!(closed.client(AWAY), reached(&closed));
        assert_eq!(other.client(AWAY), "ENETUNREACH", "not enrolled");
        assert_eq!(first.listener_ports(), (15001, Some(15001)));
        assert_eq!(capture.counters().read().unwrap().captured, 2);

        capture.withdraw();
        assert_eq!(open.client(AWAY), "ENETUNREACH");
        assert_eq!(closed.client(AWAY), "ECONNREFUSED");
    });
}

#[test]
fn a_policy_changes_without_a_new_enrolment() {
    in_namespace(|| {
        let node = Node::new();
        let pod = node.pod(1);
        let runtime = runtime();
        let _inside = runtime.enter();
        let capture = NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap();
        enrol(&capture, &runtime, &pod, FailurePolicy::Open);
        capture.attach(&sandbox(&pod), FailurePolicy::Closed).unwrap();
        assert_eq!(pod.client(AWAY), reached(&pod));
        capture.withdraw();
        assert_eq!(pod.client(AWAY), "ECONNREFUSED");
    });
}

#[test]
fn a_released_pod_is_left_alone() {
    in_namespace(|| {
        let node = Node::new();
        let pod = node.pod(1);
        let runtime = runtime();
        let _inside = runtime.enter();
        let capture = NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap();
        for policy in [FailurePolicy::Open, FailurePolicy::Closed] {
            let enrolled = enrol(&capture, &runtime, &pod, policy);
            assert_eq!(pod.client(AWAY), reached(&pod));
            capture.release(&enrolled).unwrap();
            assert_eq!(pod.client(AWAY), "ENETUNREACH");
            // While the old listener still stands, the next takes another port.
            assert_eq!(
                enrolled.listener_ports().0 == 15001,
                policy == FailurePolicy::Open
            );
        }
        let pins = node.pins();
        assert!(
            pins.iter().all(|pin| pin.parent().unwrap().ends_with("maps")),
            "{pins:?}"
        );
    });
}

#[test]
fn a_port_that_the_app_has_taken_is_left_to_it() {
    in_namespace(|| {
        let node = Node::new();
        let pod = node.pod(1);
        let taken = std::thread::scope(|scope| {
            let namespace = NetworkNamespace::of_process(Path::new("/proc"), pod.process()).unwrap();
            let inside = scope.spawn(move || {
                namespace.enter().unwrap();
                std::net::TcpListener::bind("127.0.0.1:15001").unwrap()
            });
            inside.join().unwrap()
        });
        let runtime = runtime();
        let _inside = runtime.enter();
        let capture = NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap();
        let enrolled = enrol(&capture, &runtime, &pod, FailurePolicy::Open);
        assert_ne!(enrolled.listener_ports().0, 15001);
        assert_eq!(pod.client(AWAY), reached(&pod));
        drop(taken);
    });
}

#[test]
fn killed_and_started_again_takes_its_pods_over() {
    in_namespace(|| {
        let node = Node::new();
        let (pod, gone) = (node.pod(1), node.pod(2));
        for (policy, away) in [("open", "ENETUNREACH"), ("closed", "ECONNREFUSED")] {
            let agent = Agent::start(policy, &node);
            assert_eq!(pod.client(AWAY), reached(&pod));
            agent.kill();
            assert_eq!(pod.client(AWAY), away);
        }
        let gone_uid = gone.uid.clone();
        gone.end();
        let agent = Agent::start("closed", &node);
        assert_eq!(pod.client(AWAY), reached(&pod));
        let mut pins = node.pins();
        pins.retain(|pin| pin.to_string_lossy().contains(gone_uid.as_str()));
        assert!(pins.is_empty(), "of a pod that is gone: {pins:?}");
        agent.kill();
        // Uninstalled: nothing is attached, and nothing is left.
        assert!(NodeCapture::remove_all(node.bpf_root()).unwrap());
        assert_eq!(pod.client(AWAY), "ENETUNREACH");
        assert!(!node.bpf_root().join("weir").exists());
        assert!(!NodeCapture::remove_all(node.bpf_root()).unwrap());
    });
}

/// Nobody wants them any more: the label was taken away while no agent ran.
#[test]
fn pods_that_are_not_wanted_any_more_are_released() {
    in_namespace(|| {
        let node = Node::new();
        let (kept, dropped) = (node.pod(1), node.pod(2));
        Agent::start("closed", &node).kill();
        std::fs::create_dir_all(node.bpf_root().join("weir/v0/pods")).unwrap();
        let runtime = runtime();
        let _inside = runtime.enter();
        let capture = NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap();
        assert_eq!(dropped.client(AWAY), "ECONNREFUSED");
        capture.keep_only(|uid| *uid == kept.uid).unwrap();
        assert_eq!(dropped.client(AWAY), "ENETUNREACH");
        assert_eq!(kept.client(AWAY), "ECONNREFUSED");
        assert!(!node.bpf_root().join("weir/v0").exists());
    });
}

#[test]
fn a_uid_that_returns_is_another_pod() {
    in_namespace(|| {
        let node = Node::new();
        let pod = node.pod(1);
        let runtime = runtime();
        let _inside = runtime.enter();
        let capture = NodeCapture::start(&CaptureSettings::default(), node.bpf_root()).unwrap();
        enrol(&capture, &runtime, &pod, FailurePolicy::Closed);
        let old = sandbox(&pod);
        pod.end();
        let again = node.pod(1);
        assert!(!old.is(&sandbox(&again)));
        let error = capture
            .attach(&old, FailurePolicy::Closed)
            .unwrap_err()
            .to_string();
        assert!(error.contains("not the one that was found"), "{error}");
        assert_eq!(again.client(AWAY), "ENETUNREACH");
        enrol(&capture, &runtime, &again, FailurePolicy::Closed);
        assert_eq!(again.client(AWAY), reached(&again));
    });
}

#[test]
fn without_a_bpffs_it_says_so() {
    in_namespace(|| {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let _inside = runtime.enter();
        let error = NodeCapture::start(&CaptureSettings::default(), folder.path())
            .err()
            .expect("no bpffs");
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
    });
}

fn what(pods: &Pods, number: u32) -> &'static str {
    match pods.get(&uid(number)) {
        None => "none",
        Some(Found::Empty) => "empty",
        Some(Found::HostNetwork) => "host",
        Some(Found::Sandbox(_)) => "sandbox",
    }
}

#[test]
fn pods_are_found_as_they_come_and_go() {
    in_namespace(|| {
        let node = Node::new();
        let runtime = runtime();
        runtime.block_on(async {
            let watch = PodWatch::start(Some(node.cgroup.path()), Path::new("/proc")).unwrap();
            let mut pods = watch.subscribe();
            assert!(pods.borrow().is_empty());

            let first = node.pod(1);
            pods.wait_for(|pods| what(pods, 1) == "sandbox").await.unwrap();

            // The systemd driver, guaranteed.
            let slice = node.cgroup.path().join("kubepods.slice");
            let name = format!("kubepods-pod{}.slice", uid(2).as_str().replace('-', "_"));
            let second = Pod::start(&slice.join(name), uid(2), "--net");
            pods.wait_for(|pods| what(pods, 2) == "sandbox").await.unwrap();

            // The host's network: that of this test's thread.
            let path = node
                .cgroup
                .path()
                .join(format!("kubepods/besteffort/pod{}", uid(3)));
            let host = Pod::start(&path, uid(3), "--uts");
            pods.wait_for(|pods| what(pods, 3) == "host").await.unwrap();

            // CRI-O's monitor, older than the sandbox and in the host's network.
            let path = node.cgroup.path().join(format!("kubepods/pod{}", uid(4)));
            let scope = path.join("crio-conmon-1.scope");
            std::fs::create_dir_all(&scope).unwrap();
            let mut monitor = std::process::Command::new("cat");
            monitor.stdin(std::process::Stdio::piped());
            Cgroup::open(&scope).join_before_exec(&mut monitor).unwrap();
            let mut monitor = monitor.spawn().unwrap();
            pods.wait_for(|pods| what(pods, 4) == "host").await.unwrap();
            let monitored = Pod::start(&path, uid(4), "--net");
            pods.wait_for(|pods| what(pods, 4) == "sandbox").await.unwrap();
            monitor.kill().unwrap();
            monitor.wait().unwrap();
            monitored.end();

            // A sandbox made again under the same uid.
            let namespace = |pods: &Pods| match &pods[&uid(1)] {
                Found::Sandbox(pod) => Some(pod.network_namespace.identity()),
                _ => None,
            };
            let before = namespace(&pods.borrow()).unwrap();
            let cgroup = first.cgroup.clone();
            drop(first);
            let again = Pod::start(&cgroup, uid(1), "--net");
            pods.wait_for(|pods| namespace(pods).is_some_and(|now| now != before))
                .await
                .unwrap();

            again.end();
            second.end();
            host.end();
            pods.wait_for(Pods::is_empty).await.unwrap();
        });
    });
}

/// A node that is itself a container: its pods' host is neither ours nor that of process 1.
#[test]
fn pods_that_share_a_network_are_a_hosts() {
    in_namespace(|| {
        let node = Node::new();
        let one = node.pod(1);
        let two = node.cgroup.path().join(format!("kubepods/pod{}", uid(2)));
        std::fs::create_dir_all(&two).unwrap();
        let mut joined = std::process::Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", one.process()))
            .args(["sh", "-c", "read line"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::write(two.join("cgroup.procs"), joined.id().to_string()).unwrap();
        let runtime = runtime();
        runtime.block_on(async {
            let watch = PodWatch::start(Some(node.cgroup.path()), Path::new("/proc")).unwrap();
            let mut pods = watch.subscribe();
            pods.wait_for(|pods| what(pods, 1) == "host" && what(pods, 2) == "host")
                .await
                .unwrap();
        });
        writeln!(joined.stdin.take().unwrap()).unwrap();
        joined.wait().unwrap();
    });
}
