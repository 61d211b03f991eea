//! Where a test cluster is on this machine: known to `cargo xtask cluster`, which makes it, and to the tests, which use it.
//!
//! All of a cluster is in one folder and in one cgroup of each hierarchy, both named after it: whoever wants it gone needs nothing else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside each other, for clusters of different names.
const FOLDER: &str = "/var/lib/weir-cluster";
/// The cgroup above those of all clusters, in each hierarchy.
pub const CONTROL_GROUP: &str = "weir-cluster";
/// The name that `cargo xtask cluster up` gives where it is told none.
pub const DEFAULT_NAME: &str = "dev";

/// Weir's image, where nobody names another: what `cargo xtask image` makes.
pub const WEIR_IMAGE: &str = concat!("weir.dev/weir:", env!("CARGO_PKG_VERSION"));
/// The namespace that Weir is installed in.
pub const WEIR_NAMESPACE: &str = "weir-system";
/// The key that the tests' mock provider accepts, and no other.
pub const PROVIDER_KEY: &str = "sk-mock-provider-0123456789";

/// A cluster's name, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPaths {
    name: String,
}

impl ClusterPaths {
    /// A cluster of that name, whether it runs or not.
    ///
    /// # Errors
    /// If the name is none for a folder and a cgroup: lower-case letters, digits and dashes, at most 40.
    pub fn new(name: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(allowed) {
            return Err(format!(
                "{name:?} is no name for a cluster: use lower-case letters, digits and dashes, at most 40"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// What all clusters' folders are in.
    pub fn parent() -> &'static Path {
        Path::new(FOLDER)
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of its files.
    pub fn folder(&self) -> PathBuf {
        Self::parent().join(&self.name)
    }

    /// Keys, certificates, kubeconfigs.
    pub fn pki(&self) -> PathBuf {
        self.folder().join("pki")
    }

    /// What its parts say: a file each.
    pub fn logs(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The administrator's kubeconfig. Its server answers in the cluster's network only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki().join("admin.kubeconfig")
    }

    /// The root that signs the mock provider's certificate, as PEM.
    pub fn provider_authority(&self) -> PathBuf {
        self.pki().join("provider-ca.crt")
    }

    /// There once the whole cluster was brought up. It says how.
    pub fn finished(&self) -> PathBuf {
        self.folder().join("finished")
    }

    /// kubectl, helm, and the cluster's own programs.
    pub fn programs(&self) -> PathBuf {
        self.folder().join("bin")
    }

    /// Its cgroup, below a hierarchy's mount point.
    pub fn control_group(&self, hierarchy: &Path) -> PathBuf {
        hierarchy.join(CONTROL_GROUP).join(&self.name)
    }

    /// The pid of the first process in the namespaces of `part`: `control-plane`, `n1`, `n2`.
    ///
    /// # Errors
    /// If the part does not run, with the command that starts it.
    pub fn process(&self, part: &str) -> io::Result<u32> {
        let gone = || {
            io::Error::other(format!(
                "{part} of the cluster `{}` is not running: `cargo xtask cluster up --name {0}` starts it",
                self.name
            ))
        };
        let text =
            std::fs::read_to_string(self.folder().join(format!("{part}.pid"))).map_err(|_error| gone())?;
        let process = text.trim().parse().map_err(io::Error::other)?;
        // Pids are used again: only one in the cluster's own cgroup is meant.
        let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(|_error| gone())?;
        let own = format!("/{CONTROL_GROUP}/{}/", self.name);
        if groups.lines().any(|line| line.contains(&own)) {
            Ok(process)
        } else {
            Err(gone())
        }
    }

    /// A command in the cluster's network, as its administrator: kubectl and helm are on its PATH, and KUBECONFIG is set.
    ///
    /// # Errors
    /// If the cluster does not run.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
        let process = self.process("control-plane")?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{process}/ns/net"))
            .arg("--")
            .arg(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.programs().display()))
            .env("KUBECONFIG", self.kubeconfig());
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.folder().join("helm"));
        }
        Ok(command)
    }

    /// A command in all namespaces of a node.
    ///
    /// # Errors
    /// If the node does not run.
    pub fn on_node(&self, node: &str) -> io::Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.process(node)?.to_string())
            .args(["--all", "--wdns=/", "--"]);
        Ok(command)
    }

    /// The nodes' names, in order, as far as they were started.
    pub fn nodes(&self) -> Vec<String> {
        (1..10)
            .map(|number| format!("n{number}"))
            .filter(|node| self.folder().join(format!("{node}.pid")).is_file())
            .collect()
    }
}

impl fmt::Display for ClusterPaths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterPaths;

    #[test]
    fn names_are_those_of_folders_and_cgroups() {
        for good in ["dev", "test-1f", "a"] {
            assert!(ClusterPaths::new(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "Dev", "a b", &"x".repeat(41)] {
            assert!(ClusterPaths::new(bad).is_err(), "{bad}");
        }
    }
}
