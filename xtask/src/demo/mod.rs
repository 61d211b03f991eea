//! `cargo xtask demo`: the main job, shown. There need be no internet: a private network has a mock provider, and a private /etc/hosts the names.

mod inside;

use std::path::PathBuf;
use std::process::Command;

use xtask::cache;

use crate::build::PROGRAMS;
use crate::setup;
use crate::step::{self, Outcome};

#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Set by the demo itself, once it is in its own network: where the built programs are.
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// Builds what it needs, and shows it.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if let Some(programs) = &arguments.inside {
        return inside::show(programs);
    }
    setup::demo()?;
    step::say("building weir and the mock provider (some minutes the first time)");
    step::run(
        step::cargo(&cache::clone_root())
            .args(["build", "--locked"])
            .args(PROGRAMS),
    )?;
    if step::ask("id", &["-u"]).as_deref() != Some("0") {
        return Err("the demo makes a network of its own, and Weir loads programs into the kernel: both take root. Run it with sudo".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // xtask stands where cargo puts all that it builds.
    let programs = program.parent().ok_or("xtask stands in no directory")?.to_owned();
    step::say("a private network and /etc/hosts for the demo: this machine's own stay as they are");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(&program);
    step::run(command.args(["demo", "--inside"]).arg(programs))
}
