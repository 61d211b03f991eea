//! `cargo xtask image`: Weir's image, and images as such, made without a daemon.

mod archive;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use xtask::cache;
use xtask::cluster_paths::WEIR_IMAGE;

pub(crate) use root::Root;

use crate::setup;
use crate::step::{self, Outcome};

/// The programs in it, with the package that each is built from.
const PROGRAMS: &[(&str, &str)] = &[("weir", "weir-agent"), ("weir-controller", "weir-controller")];
/// Where they are.
const PROGRAMS_FOLDER: &str = "/usr/local/bin";
/// What a release may weigh. It is fetched by every node.
const BUDGET: u64 = 40 << 20;
/// As in `distroless`: a number that no system uses, so that files of the node are not the user's by accident.
const USER: u32 = 65532;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How to build the programs.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// The image's name.
    #[arg(long, value_name = "NAME:TAG", default_value = WEIR_IMAGE)]
    reference: String,
    /// The archive to write; target/PROFILE/weir-image.tar unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the image's files to this folder instead of an archive.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["output", "reference"])]
    files: Option<PathBuf>,
}

/// A profile of cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Optimized.
    Release,
    /// As tests are built.
    Dev,
}

impl Profile {
    /// The folder of what it builds.
    pub(crate) fn folder(self) -> Outcome<PathBuf> {
        Ok(target()?.join(match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }))
    }
}

/// xtask stands in target/PROFILE, or wherever cargo was told to build.
fn target() -> Outcome<PathBuf> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.ancestors().nth(2);
    Ok(target.ok_or("xtask stands in no target directory")?.to_owned())
}

/// cargo build, into the directory that [`Profile::folder`] looks in, whatever the environment says.
pub(crate) fn cargo_build() -> Outcome<Command> {
    let mut cargo = step::cargo(&cache::clone_root());
    cargo.args(["build", "--locked", "--target-dir"]).arg(target()?);
    Ok(cargo)
}

/// Builds the programs and makes the image.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    setup::toolchain()?;
    build(arguments.profile)?;
    if let Some(folder) = &arguments.files {
        let root = Root::at(folder)?;
        fill(&root, arguments.profile)?;
        step::say(&format!("the image's files are in {}", folder.display()));
        return Ok(());
    }
    let archive = match &arguments.output {
        Some(archive) => archive.clone(),
        None => arguments.profile.folder()?.join("weir-image.tar"),
    };
    write(arguments.profile, &arguments.reference, &archive)?;
    let size = fs::metadata(&archive)
        .map_err(|error| format!("{}: {error}", archive.display()))?
        .len();
    step::say(&format!(
        "{} is {} ({:.1} MiB)",
        archive.display(),
        arguments.reference,
        size as f64 / f64::from(1 << 20)
    ));
    if arguments.profile == Profile::Release && size > BUDGET {
        return Err(format!(
            "the image is over its budget of {} MiB: see what came in with `tar --list`",
            BUDGET >> 20
        ));
    }
    Ok(())
}

/// Builds the image's programs.
pub(crate) fn build(profile: Profile) -> Outcome {
    let mut cargo = cargo_build()?;
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    for (program, package) in PROGRAMS {
        cargo.args(["--package", package, "--bin", program]);
    }
    step::say(&format!("building the image's programs: {}", step::shown(&cargo)));
    step::run(&mut cargo)
}

/// Writes Weir's image from programs that are built.
pub(crate) fn write(profile: Profile, reference: &str, archive: &Path) -> Outcome {
    let root = Root::beside(archive)?;
    fill(&root, profile)?;
    root.write(
        &json!({
            "User": format!("{USER}:{USER}"),
            "Env": [format!("PATH={PROGRAMS_FOLDER}")],
            "Entrypoint": [format!("{PROGRAMS_FOLDER}/weir")],
            "Labels": {
                "org.opencontainers.image.title": "weir",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
            },
        }),
        reference,
        archive,
    )
}

/// Programs, the libraries that they need, and what a resolver and a TLS library look for: no shell, no package manager.
fn fill(root: &Root, profile: Profile) -> Outcome {
    let programs = profile.folder()?;
    for (program, _) in PROGRAMS {
        root.program(&programs.join(program), &format!("{PROGRAMS_FOLDER}/{program}"))?;
    }
    root.copy(
        Path::new("/etc/ssl/certs/ca-certificates.crt"),
        "etc/ssl/certs/ca-certificates.crt",
        0o644,
    )?;
    root.file(
        "etc/passwd",
        format!("root:x:0:0:root:/:/nonexistent\nweir:x:{USER}:{USER}:weir:/:/nonexistent\n"),
    )?;
    root.file("etc/group", format!("root:x:0:\nweir:x:{USER}:\n"))?;
    // glibc's own default would ask more services than these two, which are a part of libc itself since 2.34.
    root.file("etc/nsswitch.conf", "hosts: files dns\n")?;
    root.folder("tmp", 0o1777)
}

#[cfg(test)]
mod tests {
    use super::{PROGRAMS_FOLDER, USER};

    #[test]
    fn the_dockerfile_makes_the_same_image() {
        let text = include_str!("../../../Dockerfile");
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            format!("USER {USER}:{USER}"),
            format!("ENV PATH={PROGRAMS_FOLDER}"),
            format!("ENTRYPOINT [\"{PROGRAMS_FOLDER}/weir\"]"),
        ] {
            assert!(lines.contains(&line.as_str()), "{line}");
        }
    }
}
