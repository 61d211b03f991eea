//! Waits for the command, and for what it leaves running.

use std::os::fd::AsFd;
use std::process::Child;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::child;
use super::signals::{Arrival, Signals};
use crate::capture::Cgroup;

/// Waits until the command has ended, passing signals on to it, and then until nothing of it is left in its cgroup:
/// daemons are captured for as long as they live. Its exit code is the command's own.
pub(super) fn for_command(
    child: &mut Child,
    cgroup: &Cgroup,
    signals: &Signals,
) -> Result<u8, Box<dyn std::error::Error>> {
    let process = Pid::from_raw(i32::try_from(child.id())?);
    let code = loop {
        wait_readable(&[PollFd::new(signals.as_fd(), PollFlags::POLLIN)])?;
        while let Some(arrival) = signals.next()? {
            if let Arrival::Forward(signal) = arrival {
                child::send(process, signal);
            }
        }
        if let Some(status) = child.try_wait()? {
            break child::exit_code(status);
        }
    };
    for_descendants(cgroup, signals)?;
    Ok(code)
}

fn for_descendants(cgroup: &Cgroup, signals: &Signals) -> Result<(), Box<dyn std::error::Error>> {
    let events = cgroup.events()?;
    let mut told = false;
    // Asked to end: first politely, then not.
    let mut asked = false;
    while cgroup.is_populated()? {
        if !std::mem::replace(&mut told, true) {
            let processes: Vec<String> = cgroup.processes()?.iter().map(ToString::to_string).collect();
            if !processes.is_empty() {
                tracing::info!(
                    "the command has ended; waiting for the processes that it left running ({}). Ctrl-C ends them.",
                    processes.join(", ")
                );
            }
        }
        wait_readable(&[
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(events.as_fd(), PollFlags::POLLPRI),
        ])?;
        while let Some(arrival) = signals.next()? {
            let end = matches!(arrival, Arrival::Terminal | Arrival::Forward(_));
            if end {
                let signal = if std::mem::replace(&mut asked, true) { Signal::SIGKILL } else { Signal::SIGTERM };
                cgroup.processes()?.into_iter().for_each(|process| child::send(Pid::from_raw(process), signal));
            }
        }
    }
    Ok(())
}

fn wait_readable(descriptors: &[PollFd<'_>]) -> nix::Result<()> {
    let mut descriptors = descriptors.to_vec();
    match poll(&mut descriptors, PollTimeout::NONE) {
        // A signal that is not blocked, such as SIGCONT: look again.
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}
