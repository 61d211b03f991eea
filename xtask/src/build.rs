//! `cargo xtask build`.

use xtask::cache;

use crate::step::{self, Outcome};

/// Builds the agent for release.
pub(crate) fn release() -> Outcome {
    step::say("building target/release/weir (some minutes the first time)");
    step::run(step::cargo(&cache::clone_root()).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "weir-agent",
    ]))
}
