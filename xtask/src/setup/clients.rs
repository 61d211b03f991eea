//! Environments of the real clients, pinned by their lock files.

use std::path::Path;
use std::process::Command;

use xtask::cache;

use super::packages;
use crate::step::{self, Outcome};

/// Stands in a finished environment; one without it was interrupted and is made anew.
const FINISHED: &str = ".finished";

/// openai, anthropic, requests, aiohttp, httpx.
pub(crate) fn python() -> Outcome {
    let root = cache::python().map_err(|error| error.to_string())?;
    let python = root.join("bin/python");
    // An upgrade of the system's Python breaks an environment made with the one before.
    let works = || {
        step::ask(
            &python.to_string_lossy(),
            &["-c", "import openai, anthropic, aiohttp"],
        )
        .is_some()
    };
    if root.join(FINISHED).is_file() && works() {
        return Ok(());
    }
    if step::ask("python3", &["-c", "import ensurepip, venv"]).is_none() {
        packages::install(packages::PYTHON_VENV)?;
    }
    step::say(&format!(
        "Python clients from tests/clients/python/requirements.txt, into {}",
        root.display()
    ));
    begin(&root)?;
    step::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root))?;
    let requirements = cache::client_sources("python").join("requirements.txt");
    step::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--progress-bar", "off", "--requirement"])
            .arg(requirements),
    )?;
    finish(&root)
}

/// openai-node.
pub(crate) fn node() -> Outcome {
    let root = cache::node().map_err(|error| error.to_string())?;
    if root.join(FINISHED).is_file() {
        return Ok(());
    }
    step::say(&format!(
        "Node clients from tests/clients/node/package-lock.json, into {}",
        root.display()
    ));
    begin(&root)?;
    for source in cache::files(&cache::client_sources("node")).map_err(|error| error.to_string())? {
        let target = root.join(source.file_name().unwrap_or_default());
        std::fs::copy(&source, &target).map_err(|error| format!("{}: {error}", target.display()))?;
    }
    step::run(
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&root),
    )?;
    finish(&root)
}

/// openai-go.
pub(crate) fn go() -> Outcome {
    let root = cache::go().map_err(|error| error.to_string())?;
    if root.join(FINISHED).is_file() {
        return Ok(());
    }
    step::say(&format!(
        "Go client from tests/clients/go/go.mod, into {} (a minute or two)",
        root.display()
    ));
    begin(&root)?;
    let mut go = Command::new("go");
    go.current_dir(cache::client_sources("go"))
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(root.join("chat"))
        .arg(".");
    step::run(&mut go)?;
    finish(&root)
}

fn begin(root: &Path) -> Outcome {
    // Half an environment is of no use.
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))
}

fn finish(root: &Path) -> Outcome {
    std::fs::write(root.join(FINISHED), "").map_err(|error| format!("{}: {error}", root.display()))
}

/// Java with a compiler, for a client that is a source file.
pub(crate) fn java() -> Outcome {
    if step::ask("java", &["--list-modules"]).is_some_and(|modules| modules.contains("jdk.compiler@")) {
        return Ok(());
    }
    packages::install(packages::JAVA)
}
