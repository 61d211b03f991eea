//! The suite's Kubernetes: one cluster for all tests, a namespace for each.
//!
//! It is a real one, made by `cargo xtask cluster`: two nodes, CoreDNS, the mock provider under the providers' own names, and Weir, installed from the charts. `cargo xtask test` names
//! it, the first test that asks for it brings it up, and `cargo xtask test` ends it, whatever came of the tests.

mod document;
pub mod inspection;
mod namespace;
mod program;
pub mod shop;
mod stream;

use std::process::{Command, Output};
use std::sync::OnceLock;

use xtask::cluster_paths::{CONTROL_GROUP, ClusterPaths};
pub use xtask::cluster_paths::{PROVIDER_KEY, WEIR_IMAGE, WEIR_NAMESPACE};

pub use document::{Document, shell, told};
pub use namespace::Namespace;
pub use program::Program;
pub use stream::Stream;

use crate::world::binaries::built;

/// Names the cluster that the tests use.
pub const VARIABLE: &str = "WEIR_TEST_CLUSTER";

/// A running cluster.
pub struct Cluster {
    paths: ClusterPaths,
}

impl Cluster {
    /// The suite's cluster, brought up if it is not.
    ///
    /// # Panics
    /// If nobody named it, or it does not come up, with what was said.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let name = std::env::var(VARIABLE).unwrap_or_else(|_unset| {
                panic!(
                    "{VARIABLE} names no cluster: run the test by `cargo xtask test NAME`, or bring one up by \
                     `cargo xtask cluster up` and set {VARIABLE}=dev"
                )
            });
            Self::up(&name, &[])
        })
    }

    /// A cluster of that name, brought up if it is not. Processes that want the same wait for each other. It stays up.
    ///
    /// # Panics
    /// If it does not come up, with what was said.
    pub fn up(name: &str, options: &[&str]) -> Self {
        let paths = ClusterPaths::new(name).unwrap_or_else(|error| panic!("{error}"));
        xtask(name, &[&["up", "--built"], options].concat());
        Self { paths }
    }

    /// Ends it.
    ///
    /// # Panics
    /// If that fails, with what was said.
    pub fn down(self) {
        xtask(self.paths.name(), &["down"]);
    }

    /// Installs Weir again as it was when the cluster came up, for tests that have changed or uninstalled it.
    ///
    /// # Panics
    /// If that fails, with what was said.
    pub fn install_weir(&self) {
        xtask(self.paths.name(), &["install"]);
    }

    /// Where its files are.
    pub fn paths(&self) -> &ClusterPaths {
        &self.paths
    }

    /// The root that signs the mock provider's certificate, as PEM.
    ///
    /// # Panics
    /// In a cluster without one.
    pub fn provider_authority(&self) -> String {
        let path = self.paths.provider_authority();
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A namespace of the test's own. It goes with the value.
    pub fn namespace(&self, purpose: &str) -> Namespace<'_> {
        Namespace::new(self, purpose)
    }

    /// A program in the cluster's network, as its administrator: `kubectl`, `helm`, or any of the machine's.
    ///
    /// # Panics
    /// If the cluster is gone.
    pub fn command(&self, program: &str) -> Command {
        self.paths
            .command(program)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// What kubectl prints.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = self.command("kubectl");
        said(command.args(arguments))
    }

    /// The process of a program of the control plane, such as `kube-apiserver`, as the machine counts.
    ///
    /// # Panics
    /// If none runs.
    pub fn control_plane_process(&self, program: &str) -> u32 {
        let own = format!("/{CONTROL_GROUP}/{}/control-plane", self.paths.name());
        let processes = std::fs::read_dir("/proc").expect("/proc is mounted");
        let mut numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_meant = |number: &u32| {
            let file = |name: &str| std::fs::read_to_string(format!("/proc/{number}/{name}"));
            file("comm").is_ok_and(|name| name.trim_end() == program)
                && file("cgroup").is_ok_and(|groups| groups.lines().any(|line| line.ends_with(&own)))
        };
        numbers
            .find(is_meant)
            .unwrap_or_else(|| panic!("the control plane has no {program}"))
    }

    /// What a program says in all namespaces of a node: `n1`, `n2`.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn on_node(&self, node: &str, arguments: &[&str]) -> String {
        let mut command = self.paths.on_node(node).unwrap_or_else(|error| panic!("{error}"));
        said(command.args(arguments))
    }
}

/// Runs xtask, which cargo has built beside the tests.
fn xtask(name: &str, arguments: &[&str]) {
    let mut command = Command::new(built("xtask"));
    said(command.args(["cluster", "--name", name]).args(arguments));
}

/// A command's standard output.
fn said(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{}", failed(command, &output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn failed(command: &Command, output: &Output) -> String {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!(
        "{}: {}\n{}{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
