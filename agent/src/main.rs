//! The `weir` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_agent::cli::main()
}
