//! Waiting for a file to change, by inotify.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// How long anything may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `reached` holds, looking again whenever `file` changes. False if it does not within [`PATIENCE`].
pub fn for_file(file: &Path, reached: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let inotify =
        Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("inotify is in every kernel");
    let watched = inotify.add_watch(file, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE);
    loop {
        if reached() {
            return true;
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return false;
        };
        if watched.is_err() {
            return false;
        }
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        // An interrupted poll is only an early look.
        let _ = poll(&mut descriptors, left);
        let _ = inotify.read_events();
    }
}
