//! Tools that cargo builds, kept in the cache by their versions.

use std::path::{Path, PathBuf};

use xtask::cache;

use crate::step::{self, Outcome};

/// bpf-linker, against Debian's LLVM: no clang, no nightly.
pub(crate) fn bpf_linker() -> Outcome {
    let root = entry("bpf-linker", cache::BPF_LINKER)?;
    if root.join("bin/bpf-linker").is_file() {
        return Ok(());
    }
    // bpf-linker looks for a folder with lib/libLLVM.so; Debian's library has its version in the name.
    let library = Path::new("/usr/lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH))
        .join("libLLVM.so.22.1");
    let llvm = root.join("llvm/lib");
    make(&llvm)?;
    let link = llvm.join("libLLVM.so");
    // Whatever an interrupted run left there is made anew.
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    let options = ["--no-default-features", "--features", "llvm-22"];
    install(
        "bpf-linker",
        cache::BPF_LINKER,
        "links the kernel programs; about a minute",
        &root,
        &options,
    )
}

/// cargo-deny.
pub(crate) fn cargo_deny() -> Outcome {
    let root = entry("cargo-deny", cache::CARGO_DENY)?;
    if root.join("bin/cargo-deny").is_file() {
        return Ok(());
    }
    install(
        "cargo-deny",
        cache::CARGO_DENY,
        "checks licences; some minutes",
        &root,
        &[],
    )
}

/// Every crate of Cargo.lock, those of other systems too: cargo-deny reads them all, and a build fetches its own only.
pub(crate) fn crates() -> Outcome {
    step::run(step::cargo(&cache::clone_root()).args(["fetch", "--locked", "--quiet"]))
}

fn install(name: &str, version: &str, purpose: &str, root: &Path, options: &[&str]) -> Outcome {
    step::say(&format!(
        "building {name} {version} ({purpose}) into {}",
        root.display()
    ));
    let build = root.join("build");
    // From /: the clone's own cargo configuration must not apply.
    let mut cargo = step::cargo(Path::new("/"));
    cargo
        .args(["install", name, "--version", version, "--locked", "--root"])
        .arg(root)
        .args(options);
    cargo
        .env("CARGO_TARGET_DIR", &build)
        .env("LLVM_PREFIX", root.join("llvm"));
    // cargo would ask to add the folder to PATH: nobody needs to.
    let path = std::env::var("PATH").unwrap_or_default();
    cargo.env("PATH", format!("{path}:{}", root.join("bin").display()));
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    step::run(&mut cargo)?;
    // Some hundred MB that nobody needs again.
    let _ = std::fs::remove_dir_all(&build);
    Ok(())
}

fn entry(name: &str, version: &str) -> Outcome<PathBuf> {
    let root = cache::directory()
        .map_err(|error| error.to_string())?
        .join(format!("{name}-{version}"));
    make(&root)?;
    Ok(root)
}

fn make(directory: &Path) -> Outcome {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}
