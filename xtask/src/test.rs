//! `cargo xtask test`: every check and every test, and one line at the end that says how many passed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use sha2::{Digest, Sha256};
use xtask::cache;
use xtask::cluster_paths::ClusterPaths;

use crate::build::PROGRAMS;
use crate::cluster;
use crate::demo;
use crate::setup;
use crate::step::{self, Outcome};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose name contains this, and no checks.
    filter: Option<String>,
    /// Only the checks: formatting, lints, docs, licences.
    #[arg(long, conflicts_with = "filter")]
    checks: bool,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

impl Tally {
    fn check(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                step::say(&format!("{name} FAILED: {error}"));
                self.failed += 1;
                self.failures.push(name.to_owned());
            }
        }
    }
}

/// Runs them. Nothing stops at the first failure, save a failed setup: without it no result means anything.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut tally = Tally::default();
    match setup::everything() {
        Ok(()) => {
            if arguments.filter.is_none() {
                checks(&mut tally);
            }
            if !arguments.checks {
                tests(arguments.filter.as_deref(), &mut tally);
            }
        }
        Err(error) => tally.check("setup", Err(error)),
    }
    for failure in &tally.failures {
        step::say(&format!("failed: {failure}"));
    }
    let (passed, failed) = (tally.passed, tally.failed);
    // This line is read by machines: alone on its line, and last.
    let _ = writeln!(std::io::stdout(), "{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn checks(tally: &mut Tally) {
    let root = cache::clone_root();
    let cargo = |arguments: &[&str]| {
        let mut command = step::cargo(&root);
        command.args(arguments);
        command
    };
    let lints = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    let mut documentation = cargo(&[
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--quiet",
    ]);
    documentation.env("RUSTDOCFLAGS", "--deny warnings");
    let checks = [
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        ("lints", cargo(&lints)),
        ("docs", documentation),
        ("licences", licences()),
    ];
    for (name, mut command) in checks {
        step::say(&format!("{name}: {}", step::shown(&command)));
        tally.check(name, step::run(&mut command));
    }
}

/// Advisories are left out: their database is not to be had without a network. deny.toml says the rest.
fn licences() -> Command {
    let program = cache::directory()
        .unwrap_or_default()
        .join(format!("cargo-deny-{}/bin/cargo-deny", cache::CARGO_DENY));
    let mut command = Command::new(program);
    command.current_dir(cache::clone_root()).args([
        "--offline",
        "--workspace",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    command
}

fn tests(filter: Option<&str>, tally: &mut Tally) {
    let root = cache::clone_root();
    step::say("building the programs that the tests drive: weir, the mock provider, the probe");
    let built = step::run(step::cargo(&root).args(["build", "--locked"]).args(PROGRAMS));
    if built.is_err() || filter.is_none() {
        let failed = built.is_err();
        tally.check("build", built);
        if failed {
            return;
        }
    }
    let cluster = match SuiteCluster::new(&root) {
        Ok(cluster) => cluster,
        Err(error) => return tally.check("cluster", Err(error)),
    };
    let mut cargo = step::cargo(&root);
    cargo
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("WEIR_TEST_CLUSTER", cluster.0.name());
    step::say(&format!("tests: {}", step::shown(&cargo)));
    if filter.is_none() {
        tally.check("demo", demo::run(&demo::Arguments::default()));
    }
    let outcome = libtest(&mut cargo, tally);
    if let Err(error) = outcome {
        tally.check("cargo test", Err(error));
    }
    // Whatever came of the tests. A test that passes by leaving something in the way of this has not passed.
    if let Err(error) = cluster.end() {
        tally.check("cluster", Err(error));
    }
}

/// The name of the cluster that the first test to want it brings up (`weir_tests::cluster`), so that tests without Kubernetes do not wait for one.
struct SuiteCluster(ClusterPaths);

impl SuiteCluster {
    /// One for each clone. What an interrupted run has left of it goes first.
    fn new(root: &Path) -> Outcome<Self> {
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let clone: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let cluster = Self(ClusterPaths::new(&format!("test-{clone}"))?);
        cluster.end()?;
        Ok(cluster)
    }

    fn end(&self) -> Outcome {
        if self.0.folder().exists() {
            cluster::down(&self.0)
        } else {
            Ok(())
        }
    }
}

/// Shows the output as it comes, and adds up libtest's results.
fn libtest(command: &mut Command, tally: &mut Tally) -> Outcome {
    let failed_before = tally.failed;
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let output = child.stdout.take().ok_or("cargo's output is not ours")?;
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes, not lines of text: a test may print what is not UTF-8.
    while reader
        .read_until(b'\n', &mut line)
        .map_err(|error| error.to_string())?
        > 0
    {
        let _ = std::io::stdout().write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if let Some(result) = text.strip_prefix("test result: ") {
            tally.passed += counted(result, " passed");
            tally.failed += counted(result, " failed");
            // A test that did not run proves nothing.
            tally.failed += counted(result, " ignored");
        } else if let Some(name) = text.trim_end().strip_suffix(" ... FAILED") {
            tally.failures.push(name.trim_start_matches("test ").to_owned());
        }
        line.clear();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    // A test program that did not build or was killed has no result line of its own.
    if status.success() || tally.failed > failed_before {
        Ok(())
    } else {
        Err(format!("cargo test: {status}"))
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; …`.
fn counted(result: &str, what: &str) -> u64 {
    let before = result.split(what).next().unwrap_or_default();
    let number = before
        .rsplit(|character: char| !character.is_ascii_digit())
        .next()
        .unwrap_or_default();
    number.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn libtest_results_are_added_up() {
        let result =
            "FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.67s\n";
        assert_eq!(
            (
                counted(result, " passed"),
                counted(result, " failed"),
                counted(result, " ignored")
            ),
            (12, 3, 1)
        );
    }
}
