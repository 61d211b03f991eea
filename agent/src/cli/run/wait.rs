//! Waits for the command, and for what it leaves running.

use std::process::Child;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::Failure;
use super::child;
use super::signals::{Arrival, Signals};
use crate::capture::Cgroup;

/// Waits until the command has ended, passing signals on to it, and then until nothing of it is left in its cgroup:
/// daemons are captured for as long as they live. The exit code is the command's own.
pub(super) async fn for_command(
    child: &mut Child,
    cgroup: &Cgroup,
    signals: &Signals<'_>,
) -> Result<u8, Failure> {
    let process = Pid::from_raw(i32::try_from(child.id())?);
    let code = loop {
        if let Some(status) = child.try_wait()? {
            break child::exit_code(status);
        }
        if let Arrival::Forward(signal) = signals.next().await? {
            child::send(process, signal);
        }
    };
    for_descendants(cgroup, signals).await?;
    Ok(code)
}

async fn for_descendants(cgroup: &Cgroup, signals: &Signals<'_>) -> Result<(), Failure> {
    let emptied = cgroup.emptied();
    tokio::pin!(emptied);
    let left = cgroup.processes()?;
    if !left.is_empty() {
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        tracing::info!(
            "the command has ended; waiting for what it left running (process {}). Ctrl-C ends it.",
            left.join(", ")
        );
    }
    // Asked to end: first politely, then not.
    let mut next = Signal::SIGTERM;
    loop {
        tokio::select! {
            emptied = &mut emptied => return Ok(emptied?),
            arrival = signals.next() => if arrival? != Arrival::Child {
                cgroup.processes()?.into_iter().for_each(|process| child::send(Pid::from_raw(process), next));
                next = Signal::SIGKILL;
            }
        }
    }
}
