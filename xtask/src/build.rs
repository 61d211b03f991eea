//! `cargo xtask build` and `cargo xtask codegen`.

use xtask::cache;

use crate::step::{self, Outcome};

/// What cargo builds for the demo, the tests and the cluster: every program but the one that runs. In a larger selection of packages xtask's
/// dependencies may have more features: cargo would put another xtask in the place of this one, whose path is then `…/xtask (deleted)`.
pub(crate) const PROGRAMS: [&str; 4] = ["--workspace", "--exclude", "xtask", "--bins"];

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
