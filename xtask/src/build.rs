//! `cargo xtask build` and `cargo xtask codegen`.

use xtask::cache;

use crate::step::{self, Outcome};

/// Builds agent and controller for release.
pub(crate) fn release() -> Outcome {
    step::say(
        "building target/release/weir and target/release/weir-controller (some minutes the first time)",
    );
    step::run(step::cargo(&cache::clone_root()).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "weir-agent",
        "--package",
        "weir-controller",
    ]))
}

/// Writes what is generated from the types of the configuration's objects: charts/weir-crds, and the reference in docs/.
pub(crate) fn codegen() -> Outcome {
    step::say("writing charts/weir-crds and docs/reference.md");
    step::run(step::cargo(&cache::clone_root()).args([
        "run",
        "--locked",
        "--quiet",
        "--package",
        "weir-api",
        "--example",
        "codegen",
    ]))
}
