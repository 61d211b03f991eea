//! A stand-in for an agent: a pod of the agents' service account on a node, tokens that are bound to it, and a stream opened with them.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::OnceLock;

use serde_json::Value as Json;
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE};
use weir_tests::world::binaries::built;

/// An agent's pod.
pub(crate) struct AgentPod<'cluster> {
    pub(crate) cluster: &'cluster Cluster,
    pub(crate) name: String,
}

impl<'cluster> AgentPod<'cluster> {
    /// A pod on `node`; it goes with the value.
    pub(crate) fn on(cluster: &'cluster Cluster, node: &str, purpose: &str) -> Self {
        let name = format!("stand-in-{purpose}-{node}");
        let pod = Self { cluster, name };
        pod.delete();
        let overrides = format!(
            r#"{{"spec":{{"nodeName":"{node}","serviceAccountName":"weir-agent","terminationGracePeriodSeconds":0}}}}"#
        );
        kubectl_in_weir(
            cluster,
            &[
                "run",
                &pod.name,
                "--image=weir.test/busybox:1",
                "--image-pull-policy=Never",
                &format!("--overrides={overrides}"),
                "--",
                "sleep",
                "infinity",
            ],
        );
        pod
    }

    /// A token for `audience` that is bound to the pod.
    pub(crate) fn token(&self, audience: &str) -> String {
        let bound = format!("--bound-object-name={}", self.name);
        let audience = format!("--audience={audience}");
        let arguments = [
            "create",
            "token",
            "weir-agent",
            &audience,
            "--bound-object-kind=Pod",
            &bound,
            "--duration=10m",
        ];
        kubectl_in_weir(self.cluster, &arguments).trim().to_owned()
    }

    pub(crate) fn delete(&self) {
        let arguments = [
            "delete",
            "pod",
            &self.name,
            "--ignore-not-found",
            "--force",
            "--grace-period=0",
        ];
        kubectl_in_weir(self.cluster, &arguments);
    }
}

impl Drop for AgentPod<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.delete();
        }
    }
}

/// kubectl in Weir's namespace.
pub(crate) fn kubectl_in_weir(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster.kubectl(&[&["--namespace", WEIR_NAMESPACE], arguments].concat())
}

/// A stream to the controller.
pub(crate) struct Stream {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stream {
    /// Opens one. `options` are more of the stand-in's.
    pub(crate) fn open(cluster: &Cluster, node: &str, token: Option<&str>, options: &[&str]) -> Self {
        static AUTHORITY: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
        let authority = AUTHORITY.get_or_init(|| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let path = "jsonpath={.data.ca\\.crt}";
            let pem = kubectl_in_weir(
                cluster,
                &["get", "configmap", "weir-control-plane-ca", "--output", path],
            );
            std::fs::write(file.path(), pem).unwrap();
            file
        });
        // By a pod's address: services are the nodes' business, and this runs beside the API server.
        // That of one which is ready: another may be ending.
        let selector = "--selector=kubernetes.io/service-name=weir-controller";
        let path = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}";
        let addresses = kubectl_in_weir(cluster, &["get", "endpointslices", selector, "--output", path]);
        let address = addresses
            .split_whitespace()
            .next()
            .expect("some replica is ready");
        let mut command = cluster.command("env");
        command
            .arg(built("weir-fake-agent"))
            .arg(format!("--controller=https://{address}:15010"))
            .arg(format!("--server-name=weir-controller.{WEIR_NAMESPACE}.svc"))
            .arg("--controller-ca")
            .arg(authority.path())
            .args(["--node", node])
            .args(options)
            .stdout(Stdio::piped());
        if let Some(token) = token {
            command.args(["--token", token]);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next message, or what the stream ended with.
    pub(crate) fn next(&mut self) -> Json {
        let line = self.lines.next().expect("it says how it ends").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The first message that `is_wanted`.
    pub(crate) fn wait(&mut self, is_wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let message = self.next();
            assert!(message.get("end").is_none(), "the stream has ended: {message}");
            if is_wanted(&message) {
                return message;
            }
        }
    }

    /// What the stream ends with: the status code and its message. Nothing may come before.
    pub(crate) fn refusal(mut self) -> (String, String) {
        let end = self.next();
        let text = |key: &str| {
            end[key]
                .as_str()
                .unwrap_or_else(|| panic!("not refused: {end}"))
                .to_owned()
        };
        (text("end"), text("message"))
    }

    /// Has it hang: its connection stays open, and nobody answers on it any more.
    pub(crate) fn hang(&self) {
        let process = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGSTOP).unwrap();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The resource of that kind and name among a message's upserts.
pub(crate) fn upsert<'a>(message: &'a Json, kind: &str, name: &str) -> Option<&'a Json> {
    let upserts = message["upserts"].as_array()?;
    upserts
        .iter()
        .find(|upsert| upsert["kind"] == format!("KIND_{kind}") && upsert["name"] == name)
}

/// Whether a resource is among a message's removals.
pub(crate) fn is_removed(message: &Json, kind: &str, name: &str) -> bool {
    let removals = message["removals"].as_array();
    removals.is_some_and(|removals| {
        removals
            .iter()
            .any(|removal| removal["kind"] == format!("KIND_{kind}") && removal["name"] == name)
    })
}
