//! A node with one pod, a provider in it, and `weir agent` as the DaemonSet runs it, with a controller of the test's own.

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
    controller::{Controller, Stream, backend, credential, leaf, workload_resource},
    pod::{Node, Pod},
    provider,
    support::LOCAL_V4,
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
