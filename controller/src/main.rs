//! The `weir-controller` command line.

use std::process::ExitCode;

/// As the agent's, and for the same reason: bodies are held in fresh memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir_controller::cli::main()
}
