//! The cluster's programs that Go builds, kept in the cache by their sources and Go's version.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
const KUBERNETES_MODULE: &str = include_str!("../../../tests/cluster/kube/go.mod");
/// After so many packages, a line says how far a build is.
const PACKAGES_A_LINE: usize = 200;

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
        &stamp(KUBERNETES_MODULE)?,
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

/// The linker's flags that give Kubernetes the version of its module; without, it says v0.0.0, and helm refuses charts that ask for more.
fn stamp(module: &str) -> Outcome<String> {
    let version = module
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .ok_or("tests/cluster/kube/go.mod requires no k8s.io/kubernetes")?;
    let mut parts = version.split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        return Err(format!(
            "tests/cluster/kube/go.mod: {version} is no version of Kubernetes"
        ));
    };
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        flags.push_str(&format!(
            " -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean -X {package}.gitCommit=0000000000000000000000000000000000000000 \
             -X {package}.buildDate=1970-01-01T00:00:00Z"
        ));
    }
    Ok(flags)
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
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
        .args(["-ldflags", linker_flags, "-o"])
        .arg(&unfinished)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", &cache)
        .env_remove("GOFLAGS");
    show_progress(&mut go)?;
    fs::rename(&unfinished, &built).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(folder)
}

/// Runs `go build -v`, which names each package once it is compiled: a line for every few of them is enough.
fn show_progress(go: &mut Command) -> Outcome {
    let mut child = go
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run go: {error}"))?;
    let said = child.stderr.take().ok_or("go's output is not ours")?;
    let mut packages = 0_usize;
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if line.contains([' ', ':', '#']) {
            // What it downloads is as good as silence; the rest are errors.
            if !line.starts_with("go: downloading ") {
                step::say(&line);
            }
            continue;
        }
        packages += 1;
        if packages.is_multiple_of(PACKAGES_A_LINE) {
            step::say(&format!("{packages} packages compiled"));
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: {status}; what it said is above", step::shown(go)))
    }
}

fn make(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::{KUBERNETES_MODULE, stamp};

    #[test]
    fn kubernetes_is_stamped_with_its_modules_version() {
        let flags = stamp(KUBERNETES_MODULE).expect("the module requires Kubernetes");
        assert!(
            flags.contains("k8s.io/component-base/version.gitVersion=v1."),
            "{flags}"
        );
        let flags = stamp("\tk8s.io/kubernetes v1.99.7\n").expect("it does");
        assert!(
            flags.contains(".gitVersion=v1.99.7 ") && flags.contains(".gitMinor=99 "),
            "{flags}"
        );
        assert!(stamp("module x").is_err());
    }
}
