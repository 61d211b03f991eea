//! The cluster's programs that Go builds, kept in the cache by their sources and Go's version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::cache;

use crate::step::{self, Outcome};

/// What the one binary of `tests/cluster/kube` does under these names.
const APPLETS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "etcd",
    "helm",
];
/// What the cluster's components say that they are. go.mod has the same: k8s.io/kubernetes.
const KUBERNETES: (&str, &str, &str) = ("1", "35", "v1.35.4");

/// Where the built programs are.
pub(crate) struct Tools {
    /// The folder with kubectl, helm, kubelet and the others.
    pub(crate) kubernetes: PathBuf,
    /// CoreDNS.
    pub(crate) coredns: PathBuf,
}

/// Builds what is not in the cache.
pub(crate) fn build() -> Outcome<Tools> {
    let version = step::ask("go", &["env", "GOVERSION"])
        .ok_or("go is missing: install Go 1.26 or later; Kubernetes is built with it")?;
    let kubernetes = program(
        "kube",
        &version,
        "Kubernetes, etcd and helm: about 7 minutes and 3 GB of memory the first time",
        &stamp(),
    )?;
    for applet in APPLETS {
        let link = kubernetes.join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink("kube", &link)
                .map_err(|error| format!("{}: {error}", link.display()))?;
        }
    }
    let coredns = program(
        "coredns",
        &version,
        "CoreDNS: a minute or two the first time",
        "-s -w",
    )?;
    Ok(Tools {
        kubernetes,
        coredns: coredns.join("coredns"),
    })
}

/// The linker's flags that give Kubernetes its version; without, it says v0.0.0, and helm refuses charts that ask for more.
fn stamp() -> String {
    let (major, minor, version) = KUBERNETES;
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        flags.push_str(&format!(
            " -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean -X {package}.gitCommit=0000000000000000000000000000000000000000 \
             -X {package}.buildDate=1970-01-01T00:00:00Z"
        ));
    }
    flags
}

/// The folder with the built program `name`, from `tests/cluster/NAME`.
fn program(name: &str, version: &str, what: &str, linker_flags: &str) -> Outcome<PathBuf> {
    let folder = cache::cluster_program(name, version).map_err(|error| error.to_string())?;
    let built = folder.join(name);
    if built.is_file() {
        return Ok(folder);
    }
    step::say(&format!("building {what}; into {}", folder.display()));
    make(&folder)?;
    let cache = cache::directory()
        .map_err(|error| error.to_string())?
        .join("cluster/gocache");
    make(&cache)?;
    // Linked under another name first: an interrupted build leaves nothing that looks finished.
    let unfinished = folder.join(format!(".{name}-{}", std::process::id()));
    let mut go = Command::new("go");
    go.current_dir(cache::clone_root().join("tests/cluster").join(name))
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"])
        .args(["-ldflags", linker_flags, "-o"])
        .arg(&unfinished)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", &cache)
        .env_remove("GOFLAGS");
    step::run(&mut go)?;
    fs::rename(&unfinished, &built).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(folder)
}

fn make(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}
