//! The project's own commands: `cargo xtask demo | test | bench | build | codegen | cluster | image | setup`.

mod bench;
mod build;
mod cluster;
mod demo;
mod image;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Weir's own commands. Each installs what it needs and says so.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows `weir run` at work: unmodified programs, no key, and what they cost.
    Demo(demo::Arguments),
    /// Runs every check and every test; the last line is `N passed, N failed`.
    Test(test::Arguments),
    /// Compares Weir with a bare proxy, and prints the ratios beside their budgets.
    Bench(bench::Arguments),
    /// Writes what is generated from the configuration's types: the custom resources' chart, and the reference in docs/.
    Codegen,
    /// A real Kubernetes on this machine, to develop and test on.
    Cluster(cluster::Arguments),
    /// Makes Weir's image as an OCI archive. No daemon is needed.
    Image(image::Arguments),
    /// Leaves target/release/weir and target/release/weir-controller.
    Build,
    /// Installs what building and testing need, and is done at once if it is there.
    Setup,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => return test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Build => setup::toolchain().and_then(|()| build::release()),
        Command::Codegen => build::codegen(),
        Command::Setup => setup::everything(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}
