//! `cargo xtask bench`: builds for release what takes part, and starts it. What is measured, and how, is in `tests/src/bin/weir-bench`.

use std::process::Command;

use xtask::cache;

use crate::setup;
use crate::step::{self, Outcome};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the rows whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A tenth of the work: whether it runs, not what it costs.
    #[arg(long)]
    quick: bool,
}

/// Builds what it needs, and measures.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    setup::bench()?;
    step::say("building weir and the bench for release");
    let root = cache::clone_root();
    step::run(
        step::cargo(&root)
            .args([
                "build",
                "--release",
                "--locked",
                "--package",
                "weir-agent",
                "--bin",
                "weir",
            ])
            .args(["--package", "weir-tests", "--bin", "weir-bench"]),
    )?;
    if step::ask("id", &["-u"]).as_deref() != Some("0") {
        return Err("the bench makes a network of its own, and Weir loads programs into the kernel: both take root. Run it with sudo".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // xtask stands in target/PROFILE, or wherever cargo was told to build.
    let target = program
        .ancestors()
        .nth(2)
        .ok_or("xtask stands in no target directory")?;
    let mut bench = Command::new(target.join("release/weir-bench"));
    bench.arg("run");
    if let Some(only) = &arguments.only {
        bench.args(["--only", only]);
    }
    if arguments.quick {
        bench.arg("--quick");
    }
    step::run(&mut bench)
}
