//! The `weir` command line.

use std::process::ExitCode;

/// Bodies are held in fresh memory, which glibc takes from the kernel and gives back again and again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir_agent::cli::main()
}
