//! Starts the command inside the captured cgroup, as the right user.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, Pid};

use super::user::Change;
use crate::capture::Cgroup;
use crate::lifecycle::OpenFiles;

/// What it takes to start the command.
pub(super) struct Start<'a> {
    pub(super) command: &'a [OsString],
    /// Variables that it does not inherit.
    pub(super) withheld: BTreeSet<String>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    pub(super) become_user: Option<Change>,
    pub(super) cgroup: &'a Cgroup,
    /// The signals that it starts with blocked.
    pub(super) blocked: SigSet,
    /// The limits of open files that it starts with.
    pub(super) open_files: OpenFiles,
}

impl Start<'_> {
    /// Starts it from the calling thread, which must outlive it: when that thread dies, the command gets SIGTERM.
    pub(super) fn spawn(self) -> io::Result<Child> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command.args(arguments);
        self.withheld.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.environment);
        let parent = unistd::getpid();
        let (become_user, blocked, open_files) = (self.become_user, self.blocked, self.open_files);
        // First of all, while it is still root.
        self.cgroup
            .join_before_exec(&mut command)
            .map_err(io::Error::other)?;
        prepare(&mut command, move || {
            open_files.restore()?;
            if let Some(user) = &become_user {
                unistd::setgroups(&user.groups)?;
                unistd::setgid(user.gid)?;
                unistd::setuid(user.uid)?;
            }
            // Last, for a change of user takes it back.
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            if unistd::getppid() != parent {
                // Weir died in between: nobody captures any more.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(blocked.thread_set_mask()?)
        });
        command.spawn()
    }
}

#[expect(unsafe_code, reason = "std offers the moment between fork and exec only so")]
fn prepare(command: &mut Command, between: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: what runs here makes system calls only; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(between) };
}

/// The status that a shell would report.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        (None, None) => u8::MAX,
    }
}

/// Sends a signal; where the process has gone there is nobody to get it.
pub(super) fn send(process: Pid, signal: Signal) {
    let _ = nix::sys::signal::kill(process, signal);
}
