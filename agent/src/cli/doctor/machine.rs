//! A machine on which `weir run` is to run.

use std::path::Path;

use super::{Check, common};
use crate::capture::preflight::{FOR_ANOTHER_USER, FOR_CAPTURE};
use crate::capture::{Capture, CaptureSettings, Hierarchy, RunDirectory};
use crate::trust::LocalAuthority;

/// Examines it. Needs the context of a tokio runtime with I/O and time.
pub(super) fn examine(state_directory: &Path) -> Vec<Check> {
    let mut needs = FOR_CAPTURE.to_vec();
    if std::env::var_os("SUDO_UID").is_some() {
        needs.extend(FOR_ANOTHER_USER);
    }
    let mut checks = common::kernel(
        &needs,
        "run it as root (sudo weir doctor), or in a container with --privileged",
    );
    let hierarchy = Hierarchy::find().map(|hierarchy| format!("we are in {}", hierarchy.own.display()));
    checks.push(Check::new("cgroup2", hierarchy));
    // What else is missing would only be told twice.
    if checks.iter().all(|check| check.outcome.is_ok()) {
        checks.push(Check::new("capture", trial()));
    }
    checks.push(Check::new("root certificate", root(state_directory)));
    checks.extend(common::trust());
    checks
}

/// A run without a command: a cgroup, the programs on it, the listener, and all of it gone again.
fn trial() -> Result<String, Box<dyn std::error::Error>> {
    let run = RunDirectory::open(RunDirectory::DEFAULT)?.begin()?;
    let captured = Capture::start(&CaptureSettings::default(), run.cgroup()).map(Capture::stop);
    run.end()?;
    captured?;
    Ok("a cgroup was made, captured and removed again".to_owned())
}

/// That of the state directory, if there has been a run.
fn root(state_directory: &Path) -> Result<String, Box<dyn std::error::Error>> {
    if !state_directory.join("root.pem").exists() {
        let folder = state_directory.display();
        return Ok(format!("there is none in {folder}; the first run makes it"));
    }
    let authority = LocalAuthority::open(state_directory)?;
    Ok(authority.certificate_path().display().to_string())
}
