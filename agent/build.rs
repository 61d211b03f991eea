//! Builds the kernel programs (`ebpf/`) for bpfel-unknown-none, for capture/program.rs to embed.
//!
//! A BPF target needs a `core` built for it. Two toolchains give one: Debian's `rustc-web` with its prebuilt
//! `libstd-rust-web-dev-bpf` ("system", no nightly needed), and a rustup nightly with rust-src ("nightly").
//! `WEIR_EBPF_TOOLCHAIN` says which; `auto`, the default, takes the first that is there. Both link with bpf-linker.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const BPF_LINKER: &str = "bpf-linker-0.13.0";
const TARGET: &str = "bpfel-unknown-none";
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";

#[derive(Clone, Copy)]
enum Toolchain {
    System,
    Nightly,
}

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("agent/ stands in the workspace")?;
    for source in ["ebpf/src", "ebpf/Cargo.toml", "ebpf/common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    for name in ["WEIR_EBPF_TOOLCHAIN", "WEIR_CACHE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }

    let toolchain = toolchain()?;
    let linker = bpf_linker()?;
    println!("cargo::rerun-if-changed={}", linker.display());
    let out = PathBuf::from(variable("OUT_DIR")?);
    let object = build(toolchain, &linker, workspace, &out)?;
    fs::copy(&object, out.join("weir-ebpf"))
        .map_err(|error| format!("{} could not be copied: {error}", object.display()))?;
    Ok(())
}

/// Builds in a target folder of its own: the outer cargo holds the lock of the usual one.
fn build(
    toolchain: Toolchain,
    linker: &Path,
    workspace: &Path,
    out: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    let target = out.join("ebpf-target");
    let mut command = match toolchain {
        Toolchain::System => Command::new(SYSTEM_CARGO),
        Toolchain::Nightly => {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", "cargo"]);
            command
        }
    };
    // What the outer cargo says about toolchain, flags and wrappers is for another target.
    for (name, _) in env::vars_os() {
        if !is_kept(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH");
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        "-Cdebuginfo=2".into(),
        format!("-Clinker={}", linker.display()),
        // The kernel's tools then show maps and programs with their types.
        "-Clink-arg=--btf".into(),
    ];
    command.arg("build");
    match toolchain {
        // aya-ebpf uses asm_experimental_arch, which only a bootstrap build may do on stable.
        Toolchain::System => command.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1"),
        Toolchain::Nightly => command.arg("-Zbuild-std=core"),
    };
    let status = command
        .args(["--release", "--locked", "--target", TARGET, "--manifest-path"])
        .arg(workspace.join("ebpf/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .current_dir(workspace)
        .status()
        .map_err(|error| format!("the eBPF build could not start: {error}; run `cargo xtask setup`"))?;
    if !status.success() {
        return Err(format!("the eBPF build failed ({status}); its messages are above").into());
    }
    Ok(target.join(TARGET).join("release/weir-ebpf"))
}

/// Where cargo keeps things and how it reaches a registry stays; all else of an outer cargo goes.
fn is_kept(variable: &str) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "RUSTUP_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_SOURCE_",
        "CARGO_REGISTR",
    ];
    let of_cargo = variable.starts_with("CARGO") || variable.starts_with("RUST");
    !of_cargo || KEPT.iter().any(|kept| variable.starts_with(kept))
}

fn toolchain() -> Result<Toolchain, Box<dyn Error>> {
    let choice = env::var("WEIR_EBPF_TOOLCHAIN").unwrap_or_else(|_| "auto".into());
    match choice.as_str() {
        "system" => Ok(Toolchain::System),
        "nightly" => Ok(Toolchain::Nightly),
        "auto" if system_is_there() => Ok(Toolchain::System),
        "auto" if nightly_is_there() => Ok(Toolchain::Nightly),
        "auto" => Err("no toolchain for the eBPF programs: run `cargo xtask setup` \
                       (it installs rustc-web, cargo-web and libstd-rust-web-dev-bpf)"
            .into()),
        other => Err(format!("WEIR_EBPF_TOOLCHAIN={other}: expected auto, system or nightly").into()),
    }
}

fn system_is_there() -> bool {
    let Some(sysroot) = output(Command::new(SYSTEM_RUSTC).args(["--print", "sysroot"])) else {
        return false;
    };
    Path::new(&sysroot)
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
        && Path::new(SYSTEM_CARGO).is_file()
}

fn nightly_is_there() -> bool {
    output(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"])).is_some_and(
        |sysroot| {
            Path::new(&sysroot)
                .join("lib/rustlib/src/rust/library/core")
                .is_dir()
        },
    )
}

/// From the cache that `cargo xtask setup` fills, else from PATH.
fn bpf_linker() -> Result<PathBuf, Box<dyn Error>> {
    let cache = env::var_os("WEIR_CACHE")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache/weir")));
    let cached = cache.map(|cache| cache.join(BPF_LINKER).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    cached
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
        .ok_or_else(|| "bpf-linker is missing: run `cargo xtask setup`".into())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}; cargo sets it").into())
}
