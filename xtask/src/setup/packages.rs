//! Debian's packages.

use std::process::Command;

use crate::step::{self, Outcome};

/// A package, and what it is for.
pub(crate) struct Package {
    name: &'static str,
    purpose: &'static str,
}

const fn package(name: &'static str, purpose: &'static str) -> Package {
    Package { name, purpose }
}

/// A rustc that has a `core` for the kernel's target, and the LLVM that bpf-linker links with. /usr/bin only: a rustup toolchain stays first.
pub(crate) const BUILD: &[Package] = &[
    package("gcc", "links Rust programs"),
    package("libc6-dev", "links Rust programs"),
    package("cmake", "builds aws-lc, the cryptography library"),
    package("rustc-web", "compiles the kernel programs"),
    package("cargo-web", "compiles the kernel programs"),
    package("libstd-rust-web-dev-bpf", "core for the kernel's target"),
    package("libllvm22", "the LLVM behind bpf-linker"),
];

/// What the demo and the tests run.
pub(crate) const RUN: &[Package] = &[
    package("ca-certificates", "public roots"),
    package("curl", "a client"),
    package("iproute2", "networks of the tests' own"),
    package("util-linux", "unshare and mount, for the demo's own network"),
];

/// What the test cluster runs. Kubernetes itself is built with Go.
pub(crate) const CLUSTER: &[Package] = &[
    package("containerd", "the cluster's container runtime"),
    package("runc", "starts the cluster's containers"),
    package("containernetworking-plugins", "the cluster's pod network"),
    package("iptables", "the cluster's services, by kube-proxy"),
    package("openssl", "the cluster's certificates"),
    package("iproute2", "the cluster's network"),
    package("procps", "sysctl, in the cluster's network"),
    package("util-linux", "unshare and nsenter"),
    package("curl", "whether the API server is ready"),
    package("busybox-static", "a shell in the cluster's test images"),
    package("gcc", "compiles the cluster's pause container"),
    package("libc6-dev", "compiles the cluster's pause container"),
];

/// What only the tests run.
pub(crate) const TEST: &[Package] = &[package("sudo", "the tests call weir by it, as its users do")];

/// Python's venv module, which Debian keeps apart from Python.
pub(crate) const PYTHON_VENV: &[Package] = &[package("python3-venv", "environments for Python clients")];

/// With its compiler: the Java client is a source file. Any other JDK will do.
pub(crate) const JAVA: &[Package] = &[package("openjdk-17-jdk-headless", "a Java client")];

/// Installs those that are missing.
pub(crate) fn install(packages: &[Package]) -> Outcome {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| !installed(package.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        step::say(&format!("apt: {} is missing ({})", package.name, package.purpose));
    }
    let root = step::ask("id", &["-u"]).as_deref() == Some("0");
    let apt = |arguments: &[&str]| {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !root {
            command.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        }
        step::run(
            command
                .arg("-q")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    step::say(&format!("installing {}", names.join(" ")));
    apt(&["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&names);
    apt(&arguments)
}

fn installed(name: &str) -> bool {
    step::ask("dpkg-query", &["-W", "-f=${db:Status-Abbrev}", name])
        .is_some_and(|status| status.starts_with("ii"))
}
