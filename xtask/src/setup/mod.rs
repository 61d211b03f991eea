//! What building and testing need. Everything is looked for first, and made only where it is missing.

mod clients;
mod packages;
mod tools;

use crate::cluster;
use crate::step::Outcome;

/// What the kernel programs are built with.
pub(crate) fn toolchain() -> Outcome {
    packages::install(packages::BUILD)?;
    tools::bpf_linker()
}

pub(crate) use clients::python;

/// What the demo needs beside the build: Python's clients, curl, ip.
pub(crate) fn demo() -> Outcome {
    toolchain()?;
    packages::install(packages::RUN)?;
    clients::python()
}

/// What the benchmarks need beside the build: networks of their own.
pub(crate) fn bench() -> Outcome {
    toolchain()?;
    packages::install(packages::RUN)
}

/// What the test cluster is made of: Debian's containerd and the like, and Kubernetes, built.
pub(crate) fn cluster() -> Outcome {
    packages::install(packages::CLUSTER)?;
    cluster::build_tools().map(drop)
}

/// All of it.
pub(crate) fn everything() -> Outcome {
    toolchain()?;
    packages::install(packages::RUN)?;
    packages::install(packages::TEST)?;
    tools::cargo_deny()?;
    tools::crates()?;
    clients::python()?;
    clients::node()?;
    clients::go()?;
    clients::java()?;
    cluster()
}
