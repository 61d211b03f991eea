//! Signals that reach Weir while a command runs.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What is passed on to the command.
const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Something that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A child changed its state.
    Child,
    /// For the command, from another process.
    Forward(Signal),
    /// From the terminal, which has sent it to the command as well.
    Terminal,
}

/// Signals, read instead of handled.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// To be called before any other thread is started: each inherits the mask.
    pub(super) fn block() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        FORWARDED.into_iter().for_each(|signal| set.add(signal));
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// The next signal that has come, or `None` if none has.
    pub(super) fn next(&self) -> nix::Result<Option<Arrival>> {
        let Some(info) = self.descriptor.read_signal()? else { return Ok(None) };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
        Ok(signal.map(|signal| match signal {
            Signal::SIGCHLD => Arrival::Child,
            // Ctrl-C and a hang-up go to the whole foreground process group, the command included: twice would be wrong.
            _ if info.ssi_code == libc::SI_KERNEL => Arrival::Terminal,
            signal => Arrival::Forward(signal),
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
