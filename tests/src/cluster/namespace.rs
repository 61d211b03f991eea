//! A namespace of a test's own, and what tests do in one.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::{Cluster, failed, output, said};

/// A namespace that is deleted when this is dropped, unless it was there before. If the test failed, what the cluster says of it is printed first.
pub struct Namespace<'cluster> {
    cluster: &'cluster Cluster,
    name: String,
    /// Whether it goes with this.
    is_ours: bool,
}

impl<'cluster> Namespace<'cluster> {
    pub(super) fn new(cluster: &'cluster Cluster, purpose: &str) -> Self {
        // The names of tests that ran before stay taken until their namespaces have gone.
        let random = RandomState::new().hash_one(purpose);
        let name = format!("{purpose}-{random:016x}");
        cluster.kubectl(&["create", "namespace", &name]);
        let namespace = Self {
            cluster,
            name,
            is_ours: true,
        };
        // A pod that comes before it is refused.
        namespace.kubectl(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"]);
        namespace
    }

    /// One that is there already, and stays.
    pub fn existing(cluster: &'cluster Cluster, name: &str) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            is_ours: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &'cluster Cluster {
        self.cluster
    }

    /// kubectl in this namespace, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cluster.command("kubectl");
        command.args(["--namespace", &self.name]).args(arguments);
        command
    }

    /// What kubectl prints.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        said(&mut self.command(arguments))
    }

    /// What became of kubectl, for what is expected to fail.
    pub fn kubectl_output(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// Creates or changes objects.
    ///
    /// # Panics
    /// If the API server refuses one, with its reason.
    pub fn apply(&self, manifest: &str) {
        let applied = self.apply_output(manifest);
        assert!(
            applied.status.success(),
            "{}of\n{manifest}",
            failed(&self.command(&["apply"]), &applied)
        );
    }

    /// What the API server says to objects, for those that it is expected to refuse.
    ///
    /// # Panics
    /// If kubectl cannot be run.
    pub fn apply_output(&self, manifest: &str) -> Output {
        let mut command = self.command(&["apply", "--filename", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run kubectl: {error}"));
        let mut input = child.stdin.take().expect("piped above");
        input
            .write_all(manifest.as_bytes())
            .expect("kubectl reads its input");
        drop(input);
        child.wait_with_output().expect("kubectl was started above")
    }

    /// Waits until an object meets a condition: `("pod/client", "condition=Ready")`, `("deployment/web", "jsonpath={.status…}=1")`.
    ///
    /// # Panics
    /// If it does not within two minutes.
    pub fn wait(&self, object: &str, condition: &str) {
        let condition = format!("--for={condition}");
        self.kubectl(&["wait", &condition, object, "--timeout=120s"]);
    }

    /// Starts a pod of one container on a node, and waits until it is ready. `fields` are more of the container's, as YAML in flow style.
    ///
    /// # Panics
    /// If it is not ready within two minutes.
    pub fn pod(&self, name: &str, node: &str, image: &str, fields: &str) {
        self.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: {name}, image: '{image}', imagePullPolicy: Never, {fields}}}
"
        ));
        self.wait(&format!("pod/{name}"), "condition=Ready");
    }

    /// What a command prints in a pod.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn exec(&self, pod: &str, arguments: &[&str]) -> String {
        self.kubectl(&[&["exec", pod, "--"], arguments].concat())
    }

    /// What became of a command in a pod, for what is expected to fail.
    pub fn exec_output(&self, pod: &str, arguments: &[&str]) -> Output {
        self.kubectl_output(&[&["exec", pod, "--"], arguments].concat())
    }

    /// What a pod, or `deployment/NAME`, has said so far.
    pub fn logs(&self, of: &str) -> String {
        self.kubectl(&["logs", of])
    }

    /// A field of an object: `("pod", "web", "{.status.podIP}")`.
    pub fn field(&self, kind: &str, name: &str, path: &str) -> String {
        let path = format!("jsonpath={path}");
        self.kubectl(&["get", kind, name, "--output", &path])
    }

    /// What may say why a test has failed. Not of pods that have ended well: of those there may be hundreds.
    #[allow(clippy::print_stderr, reason = "libtest shows what a failed test printed")]
    fn tell(&self) {
        const NOT_ENDED_WELL: &str = "--field-selector=status.phase!=Succeeded";
        let tell = |question: &[&str]| {
            let answer = output(&mut self.command(question));
            eprintln!("{}", failed(&self.command(question), &answer));
        };
        tell(&["get", "services,events", "--output=wide"]);
        tell(&["get", "pods", "--output=wide", NOT_ENDED_WELL]);
        let pods = output(&mut self.command(&["get", "pods", "--output=name", NOT_ENDED_WELL]));
        for pod in String::from_utf8_lossy(&pods.stdout).lines() {
            tell(&["describe", pod]);
            tell(&["logs", pod, "--all-containers", "--prefix", "--tail=40"]);
        }
    }
}

impl Drop for Namespace<'_> {
    #[allow(clippy::print_stderr, reason = "libtest shows what a failed test printed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if !self.is_ours {
            return;
        }
        // Not waited for: it takes as long as its slowest pod, and its name is nobody else's.
        let mut command = self.cluster.command("kubectl");
        let deleted = output(command.args(["delete", "namespace", &self.name, "--wait=false"]));
        if !deleted.status.success() {
            eprintln!("{}", failed(&command, &deleted));
        }
    }
}
