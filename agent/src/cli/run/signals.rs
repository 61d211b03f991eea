//! Signals that reach Weir while a command runs.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is passed on to the command.
const FORWARDED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

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
pub(super) struct BlockedSignals {
    descriptor: SignalFd,
    /// What was blocked before: the command's to inherit.
    inherited: SigSet,
}

impl BlockedSignals {
    /// To be called before any other thread is started: each inherits the mask.
    pub(super) fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        FORWARDED.into_iter().for_each(|signal| set.add(signal));
        let inherited = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            descriptor,
            inherited,
        })
    }

    /// What was blocked when Weir was started.
    pub(super) fn inherited(&self) -> SigSet {
        self.inherited
    }

    /// Inside a tokio runtime they can be waited for.
    pub(super) fn watch(self) -> io::Result<Signals> {
        Ok(Signals(watch(self.descriptor)?))
    }
}

/// The signals that come.
#[derive(Debug)]
pub(super) struct Signals(AsyncFd<SignalFd>);

impl Signals {
    /// The next that comes. Cancelling loses none.
    pub(super) async fn next(&self) -> io::Result<Arrival> {
        loop {
            let mut ready = self.0.readable().await?;
            let Some(info) = self.0.get_ref().read_signal()? else {
                ready.clear_ready();
                continue;
            };
            match i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
            {
                None => {}
                Some(Signal::SIGCHLD) => return Ok(Arrival::Child),
                // Ctrl-C and a hang-up go to the whole foreground process group, the command included: twice would be wrong.
                Some(_) if info.ssi_code == libc::SI_KERNEL => return Ok(Arrival::Terminal),
                Some(signal) => return Ok(Arrival::Forward(signal)),
            }
        }
    }
}

#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn watch(descriptor: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a SignalFd owns its descriptor and gives back the same one for as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(watched?)
}
