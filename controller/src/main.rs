//! The `weir-controller` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_controller::cli::main()
}
