//! The access log: lines to a file or standard output, written by a thread of its own.
//!
//! Senders append to one buffer and the thread takes it whole, so that a busy process makes few, large writes and a
//! settled exchange costs no system call. A sender never waits: it runs where connections are served, and a reader that
//! stalls would stall them all, the heartbeat with them. Lines that find the buffer full are counted as lost.

use std::cell::RefCell;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::{Condvar, Mutex, MutexGuard};
use thiserror::Error;

use super::line;
use super::record::ExchangeRecord;

/// Bytes that may wait for the thread: some 1,500 lines. What comes then is lost.
const FULL: usize = 1024 * 1024;
/// Bytes worth a write before the pause is over.
const LARGE: usize = 64 * 1024;
/// After a write the thread lets lines gather. The first line after a quiet time is written at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no access log, or not all of it.
#[derive(Debug, Error)]
pub enum AccessLogError {
    /// The file can't be opened.
    #[error("--access-log {}: {source}; name a file in a directory that you may write, or - for standard output", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Lines could not be written.
    #[error("the access log {target} lacks {lines} lines: {problem}")]
    Lost {
        /// The file, or `standard output`.
        target: String,
        /// How many exchanges are missing.
        lines: u64,
        /// The first error of a write, else that the reader was too slow.
        problem: String,
    },
}

/// An open access log. [`AccessLog::close`] it when the last exchange is settled; dropping it does the same.
pub struct AccessLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    target: String,
    state: Mutex<State>,
    /// The thread waits here for lines.
    lines: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    pending_lines: u64,
    /// Wake the thread once `pending` has grown to this.
    wake_at: usize,
    closing: bool,
    lost: u64,
    /// The first error of a write.
    first_problem: Option<String>,
    /// Whether a line found the buffer full.
    overran: bool,
}

impl AccessLog {
    /// Opens `path` for appending, made with mode 0640 where it is new; `-` is standard output.
    pub fn open(path: &Path) -> Result<Self, AccessLogError> {
        let open_error = |source| AccessLogError::Open {
            path: path.to_owned(),
            source,
        };
        if path == Path::new("-") {
            let output = io::stdout().as_fd().try_clone_to_owned().map_err(open_error)?;
            return Self::start(File::from(output), "on standard output".to_owned()).map_err(open_error);
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)
            .map_err(open_error)?;
        Self::start(file, path.display().to_string()).map_err(open_error)
    }

    fn start(output: impl Write + AsFd + Send + 'static, target: String) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
            lines: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || of_thread.run(output))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn settle(&self, record: &ExchangeRecord) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::write(record, line); // outside the lock
            self.shared.push(line);
        });
    }

    /// Writes what is pending, ends the thread, and says whether lines are missing. Further calls do nothing.
    pub fn close(&self) -> Result<(), AccessLogError> {
        let Some(thread) = self.thread.lock().take() else {
            return Ok(());
        };
        self.shared.state.lock().closing = true;
        self.shared.lines.notify_one();
        let panicked = thread.join().is_err();

        let state = self.shared.state.lock();
        let problem = match &state.first_problem {
            Some(problem) => problem.clone(),
            None if state.overran => "its reader was slower than the exchanges".to_owned(),
            None if panicked => "its thread panicked, which is a bug in Weir".to_owned(),
            None => return Ok(()),
        };
        Err(AccessLogError::Lost {
            target: self.shared.target.clone(),
            lines: state.lost,
            problem,
        })
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("{error}");
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AccessLog")
            .field("target", &self.shared.target)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.closing {
            state.lost += 1;
            return;
        }
        if state.pending.len() >= FULL {
            state.lost += 1;
            let first = !std::mem::replace(&mut state.overran, true);
            drop(state);
            if first {
                tracing::warn!(
                    "the access log {}: its reader is slower than the exchanges; lines are missing from here on \
                     whenever {} KiB wait for it",
                    self.target,
                    FULL / 1024
                );
            }
            return;
        }
        state.pending.extend_from_slice(line);
        state.pending_lines += 1;
        if state.pending.len() >= state.wake_at {
            state.wake_at = usize::MAX; // once is enough
            drop(state);
            self.lines.notify_one();
        }
    }

    fn run(&self, mut output: impl Write + AsFd) {
        let mut batch = Vec::new();
        // A write that failed half-way leaves half a line, which must not swallow the next one.
        let mut mid_line = false;
        let mut state = self.state.lock();
        loop {
            while state.pending.is_empty() && !state.closing {
                state.wake_at = 1;
                self.lines.wait(&mut state);
            }
            if state.pending.is_empty() {
                return;
            }
            std::mem::swap(&mut batch, &mut state.pending);
            let lines = std::mem::take(&mut state.pending_lines);
            state.wake_at = usize::MAX;
            let mut written = 0;
            let result = MutexGuard::unlocked(&mut state, || {
                if mid_line {
                    write_all(&mut output, b"\n", &mut 0)?;
                    mid_line = false;
                }
                write_all(&mut output, &batch, &mut written)
            });
            if let Err(error) = result {
                if written > 0 {
                    mid_line = batch[written - 1] != b'\n';
                }
                let whole = memchr::memchr_iter(b'\n', &batch[..written]).count() as u64;
                self.failed(&mut state, lines - whole, &error);
            }
            batch.clear();
            if !state.closing && state.pending.len() < LARGE {
                state.wake_at = LARGE;
                self.lines.wait_for(&mut state, PAUSE);
            }
        }
    }

    fn failed(&self, state: &mut State, lines: u64, error: &io::Error) {
        state.lost += lines;
        if state.first_problem.is_none() {
            tracing::error!(
                "the access log {}: {error}; lines are missing from here on until it can be written again",
                self.target
            );
            state.first_problem = Some(error.to_string());
        }
    }
}

/// As `Write::write_all`, but says how far it came, and waits where the descriptor is non-blocking: standard output is
/// shared with the command, and Node for one makes a pipe there non-blocking for everyone.
fn write_all(output: &mut (impl Write + AsFd), bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match output.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_writable(output.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(output: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::new(output, PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests;
