//! Signals that reach Weir while a command runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

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

    /// For while nobody reads them.
    pub(super) fn let_through(&self) -> io::Result<LetThrough> {
        LetThrough::start(self.inherited)
    }

    /// Inside a tokio runtime they can be waited for.
    pub(super) fn watch(&self) -> io::Result<Signals<'_>> {
        Ok(Signals {
            descriptor: &self.descriptor,
            watched: watch(self.descriptor.as_fd())?,
        })
    }

    /// Waits, inside a tokio runtime, for a signal that asks Weir to end.
    pub(super) async fn asked_to_end(&self) -> io::Result<()> {
        let signals = self.watch()?;
        while signals.next().await? == Arrival::Child {}
        Ok(())
    }

    /// Reads what has come and was not waited for any more.
    pub(super) fn discard(&self) {
        while let Ok(Some(_)) = self.descriptor.read_signal() {}
    }
}

/// While it lives, signals do what they would do to a program that knows nothing of them: end it. For what may wait
/// without bound on others, when nobody reads the signals.
///
/// The kernel gives a process's signal to any thread that does not block it, and here that is one that does nothing else.
/// To unblock them in the calling thread would not do: the threads that it starts meanwhile would keep that mask.
#[derive(Debug)]
pub(super) struct LetThrough {
    /// The thread ends when this is dropped.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LetThrough {
    fn start(mask: SigSet) -> io::Result<Self> {
        let (alive, ended) = channel();
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Err(error) = mask.thread_set_mask() {
                    tracing::warn!("signals cannot be unblocked: {error}");
                }
                let _ = ended.recv();
            })?;
        Ok(Self {
            alive: Some(alive),
            thread: Some(thread),
        })
    }
}

impl Drop for LetThrough {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The signals that come.
#[derive(Debug)]
pub(super) struct Signals<'blocked> {
    descriptor: &'blocked SignalFd,
    watched: AsyncFd<BorrowedFd<'blocked>>,
}

impl Signals<'_> {
    /// The next that comes. Cancelling loses none.
    pub(super) async fn next(&self) -> io::Result<Arrival> {
        loop {
            let mut ready = self.watched.readable().await?;
            let Some(info) = self.descriptor.read_signal()? else {
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
fn watch(descriptor: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a borrowed descriptor is open, and the same, for as long as the borrow lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(watched?)
}
