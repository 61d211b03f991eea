//! Saying what is done and why, and running it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why a command of ours could not do its work: one line for whoever called it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A line of ours, told apart from the tools' own output by its arrow.
pub(crate) fn say(line: &str) {
    // Nobody reads it: then nobody misses it.
    let _ = writeln!(std::io::stderr(), "==> {line}");
}

/// Runs a tool with its output shown.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = shown(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {status}; what it said is above"))
    }
}

/// What a tool prints, trimmed; `None` where it is missing or fails. For questions, not for work.
pub(crate) fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// cargo as the user has it, without what the cargo that runs us has set for its own use.
pub(crate) fn cargo(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if ours
            || matches!(
                &*name,
                "CARGO" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "RUSTUP_TOOLCHAIN"
            )
        {
            command.env_remove(&*name);
        }
    }
    command
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
