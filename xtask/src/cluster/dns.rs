//! CoreDNS, with the cluster's own names only.

use std::io::Write;
use std::process::Stdio;

use xtask::cluster_paths::ClusterPaths;

use super::node::quietly;
use super::{addresses, kubectl};
use crate::step::{self, Outcome};

const MANIFEST: &str = include_str!("../../../tests/cluster/coredns.yaml");

/// Starts it with these lines of a hosts file, and waits until it answers.
pub(crate) fn start(paths: &ClusterPaths, hosts: &str) -> Outcome {
    let manifest = MANIFEST
        .replace("@HOSTS@", hosts.trim_end())
        .replace("@DNS@", addresses::DNS);
    apply(paths, &manifest)?;
    rolled_out(paths, "kube-system", "deployment/coredns")
}

/// Waits until a workload has all its pods.
pub(crate) fn rolled_out(paths: &ClusterPaths, namespace: &str, workload: &str) -> Outcome {
    quietly(kubectl(
        paths,
        &[
            "--namespace",
            namespace,
            "rollout",
            "status",
            workload,
            "--timeout=120s",
        ],
    )?)
    .map_err(|error| format!("{error}\n{}", pods(paths, namespace)))
}

/// What the cluster says of a namespace's pods, to be shown where one of them does not come up.
pub(crate) fn pods(paths: &ClusterPaths, namespace: &str) -> String {
    kubectl(paths, &["--namespace", namespace, "describe", "pods"])
        .ok()
        .and_then(|mut command| command.output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// `kubectl apply` of a manifest's text.
pub(crate) fn apply(paths: &ClusterPaths, manifest: &str) -> Outcome {
    let mut command = kubectl(paths, &["apply", "--filename", "-"])?;
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot run kubectl: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(manifest.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "{}: {status}; what it said is above",
            step::shown(&command)
        ))
    }
}
