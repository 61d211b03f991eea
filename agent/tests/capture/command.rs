//! `weir agent` as the DaemonSet runs it, with a controller of the test's own.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir_api::proto;

use crate::{
    controller::{Controller, Stream, backend, credential, leaf, workload, workload_resource},
    pod::{Node, Pod},
    provider,
    support::{LOCAL_V4, in_namespace},
};

/// All that the chart gives the agent.
pub(crate) const CAPABILITIES: &str = "+sys_admin,+net_admin,+sys_ptrace";

pub(crate) const HOST: &str = "api.openai.com";

/// A node with one pod, a provider inside of the pod, and a controller.
pub(crate) struct Scene {
    pub(crate) runtime: Runtime,
    // In the order of their end.
    pub(crate) pod: Pod,
    pub(crate) node: Node,
    pub(crate) folder: TempDir,
    pub(crate) controller: Controller,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let node = Node::new();
        let pod = node.pod(1);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "the-token\n").unwrap();
        provider::start(&pod, HOST, folder.path());
        let controller = {
            let _inside = runtime.enter();
            Controller::start(folder.path(), 0)
        };
        Self {
            runtime,
            node,
            pod,
            folder,
            controller,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn uid(&self) -> &str {
        self.pod.uid.as_str()
    }

    pub(crate) fn agent(&self) -> AgentProcess {
        self.agent_at(15090)
    }

    /// An agent with its metrics at this port; its logs are named by it, where it is not the usual one.
    pub(crate) fn agent_at(&self, port: u16) -> AgentProcess {
        self.agent_with(port, self.node.bpf_root())
    }

    /// The same, with the pins elsewhere.
    pub(crate) fn agent_with(&self, port: u16, bpf_root: &Path) -> AgentProcess {
        let name = |kind: &str| match port {
            15090 => format!("{kind}.log"),
            _ => format!("{kind}-{port}.log"),
        };
        let log = fs::File::create(self.file(&name("agent"))).unwrap();
        let process = Command::new("setpriv")
            .arg(format!("--bounding-set=-all,{CAPABILITIES}"))
            .arg(env!("CARGO_BIN_EXE_weir"))
            .args(["agent", "--node", "n1", "--controller"])
            .arg(format!("https://localhost:{}", self.controller.address.port()))
            .arg("--metrics")
            .arg(format!("127.0.0.1:{port}"))
            .arg("--controller-ca")
            .arg(&self.controller.authorities)
            .arg("--token")
            .arg(self.file("token"))
            .arg("--cgroup-root")
            .arg(self.node.cgroup.path())
            .arg("--bpf-root")
            .arg(bpf_root)
            .arg("--run-root")
            .arg(self.folder.path())
            .arg("--upstream-ca")
            .arg(self.file("provider-ca.pem"))
            .arg("--access-log")
            .arg(self.file(&name("access")))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        AgentProcess(process)
    }

    /// All that the pod needs, with this workload.
    pub(crate) fn resources(&self, workload: proto::Workload) -> Vec<proto::Resource> {
        let (leaf, root) = leaf(HOST);
        fs::write(self.file("root.pem"), root).unwrap();
        vec![
            backend(HOST),
            credential("sk-real"),
            leaf,
            workload_resource(workload),
        ]
    }

    /// Has an agent that has just been started capture the pod.
    pub(crate) fn configure(&mut self, workload: proto::Workload) -> Stream {
        let resources = self.resources(workload);
        let uid = self.uid().to_owned();
        self.runtime.block_on(async {
            let mut stream = self.controller.stream().await;
            assert_eq!(stream.hello().await.node, "n1");
            assert_eq!(stream.authorization, "Bearer the-token");
            assert_eq!(stream.configure(resources, Vec::new()).await, []);
            stream.reports(&[&uid]).await;
            stream
        })
    }

    /// Calls the provider from the pod by TLS, as its address has it, and gives the answer.
    pub(crate) fn call(&self) -> String {
        self.pod.client(&format!(
            "https {LOCAL_V4}:443 {HOST} {}",
            self.file("root.pem").display()
        ))
    }

    /// Runs a command to its end, with the controller answering meanwhile.
    pub(crate) fn finish(&self, command: Command) -> Output {
        let output = async { tokio::process::Command::from(command).output().await };
        self.runtime.block_on(output).unwrap()
    }

    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.file("agent.log")).unwrap()
    }
}

pub(crate) struct AgentProcess(Child);

impl AgentProcess {
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// SIGTERM, waited for.
    pub(crate) fn end(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn get(path: &str) -> String {
    get_at(15090, path)
}

/// What an agent says over HTTP at this port.
pub(crate) fn get_at(port: u16, path: &str) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

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

#[test]
fn await_capture_waits_for_the_agent() {
    in_namespace(|| {
        let mut scene = Scene::new();
        let await_capture = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            command.arg("await-capture").args(arguments);
            scene.pod.command(&command)
        };
        // Nobody is there: Open goes on after its limit.
        let output = await_capture(&["--fail", "open", "--limit", "1s"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("going on without Weir"),
            "{said}"
        );

        let mut waiting = await_capture(&["--fail", "closed"]).spawn().unwrap();
        let _agent = scene.agent();
        let mut observed = workload(scene.uid(), "till-1");
        observed.trusts = false;
        scene.configure(observed);
        assert!(waiting.wait().unwrap().success());
        let mut said = String::new();
        waiting.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("captured as shop/till-1 on n1"), "{said}");
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
