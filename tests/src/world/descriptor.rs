//! pidfd_open(2): waiting for a process's end with a limit.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

/// A descriptor that becomes readable when the process ends.
///
/// # Panics
/// If there is no such process.
#[allow(unsafe_code, reason = "a system call that nix does not wrap")]
pub fn process(process: Pid) -> OwnedFd {
    // SAFETY: pidfd_open takes two integers and gives a new descriptor, which nobody else owns, or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
    assert!(
        descriptor >= 0,
        "pidfd_open({process}): {}",
        std::io::Error::last_os_error()
    );
    let descriptor = i32::try_from(descriptor).expect("descriptors fit");
    // SAFETY: as above: open, and ours.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Whether it becomes readable within `limit`.
pub fn readable(descriptor: &OwnedFd, limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut descriptors = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut descriptors, limit), Ok(ready) if ready > 0)
}
