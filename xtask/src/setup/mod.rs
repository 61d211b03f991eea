//! What building and testing need. Everything is looked for first, and made only where it is missing.

mod clients;
mod packages;
mod tools;

use crate::step::Outcome;

/// What the kernel programs are built with.
pub(crate) fn toolchain() -> Outcome {
    packages::install(packages::BUILD)?;
    tools::bpf_linker()
}

/// What the demo needs beside the build: Python's clients, curl, ip.
pub(crate) fn demo() -> Outcome {
    toolchain()?;
    packages::install(packages::RUN)?;
    clients::python()
}

/// All of it.
pub(crate) fn everything() -> Outcome {
    toolchain()?;
    packages::install(packages::RUN)?;
    packages::install(packages::TEST)?;
    tools::cargo_deny()?;
    clients::python()?;
    clients::node()?;
    clients::go()
}
