//! `cargo xtask cluster`: a real Kubernetes on this machine, in namespaces and cgroups of its own.
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler are in one set of namespaces; each node is another, with containerd, runc,
//! kubelet and kube-proxy. Nothing of the machine's own network, mounts or sysctls is touched. Its scripts and manifests are in `tests/cluster`.

mod addresses;
mod app_image;
mod cgroups;
mod control_plane;
mod dns;
mod down;
mod images;
mod init;
mod node;
mod pki;
mod providers;
mod tools;
mod up;
mod weir;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, Subcommand};
use xtask::cluster_paths::{ClusterPaths, DEFAULT_NAME};

use crate::step::{self, Outcome};

pub(crate) use down::down;
pub(crate) use tools::build as build_tools;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Clusters of different names run side by side.
    #[arg(long, global = true, default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Builds what is missing, and brings the cluster up; done at once if it is up.
    Up(up::Arguments),
    /// Ends the cluster, also one that came up by half or was killed, and leaves nothing of it.
    Down,
    /// Runs a command in the cluster's network, with kubectl and helm on PATH and KUBECONFIG set.
    Exec {
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Installs Weir from this clone's charts, where it is not installed or is another; not its image (see `load`).
    Install,
    /// Builds Weir as this clone has it, and imports its image into every node.
    Load,
    /// Imports image archives (OCI or Docker) into every node.
    Import {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
}

/// Does what the command line says.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let paths = ClusterPaths::new(&arguments.name)?;
    if step::ask("id", &["-u"]).as_deref() != Some("0") {
        return Err(
            "the cluster is made of namespaces and cgroups, which take root: run it with sudo".to_owned(),
        );
    }
    match &arguments.action {
        Action::Up(up) => up::run(&paths, up),
        Action::Down => down(&paths),
        Action::Exec { command } => exec(&paths, command),
        Action::Install => weir::install(&paths),
        Action::Load => images::load(&paths),
        Action::Import { archives } => images::import(&paths, archives),
    }
}

/// Becomes the command.
fn exec(paths: &ClusterPaths, command: &[String]) -> Outcome {
    let (program, rest) = command.split_first().ok_or("there is no command to run")?;
    let mut command = paths.command(program).map_err(|error| error.to_string())?;
    let error = command.args(rest).exec();
    Err(format!("cannot run {}: {error}", step::shown(&command)))
}

/// kubectl, as the cluster's administrator.
fn kubectl(paths: &ClusterPaths, arguments: &[&str]) -> Outcome<Command> {
    let mut command = paths.command("kubectl").map_err(|error| error.to_string())?;
    command.args(arguments);
    Ok(command)
}

/// The last lines of one of the cluster's logs, to be shown where a part of it failed.
fn tail(paths: &ClusterPaths, log: &str) -> String {
    let path = paths.logs().join(log);
    let content = std::fs::read(&path).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
    format!("the end of {}:\n{}", path.display(), last.join("\n"))
}
