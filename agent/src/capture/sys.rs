//! The system calls of capture that no crate offers safely.
#![allow(unsafe_code, reason = "raw system calls, each with its reason")]

pub(super) mod links;

use std::{
    fs::File,
    io,
    mem::{size_of, size_of_val},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    os::unix::process::CommandExt,
    process::Command,
};

use tokio::io::{Interest, unix::AsyncFd};

const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// The kernel's `enum bpf_attach_type`, as far as Weir has programs for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum AttachType {
    EgressPackets = 1,
    SocketOperations = 3,
    Connect4 = 10,
    Connect6 = 11,
    SendMessage4 = 14,
    SendMessage6 = 15,
    PeerName4 = 29,
    PeerName6 = 30,
}

/// The members of `union bpf_attr` for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replace: u32,
}

/// Attaches a program to a cgroup for as long as the cgroup lives, whatever becomes of this process. A link would end
/// with its last descriptor, and keeping one needs bpffs.
pub(super) fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, kind: AttachType) -> io::Result<()> {
    bpf_attach(BPF_PROG_ATTACH, cgroup, program, kind, BPF_F_ALLOW_MULTI)
}

/// The inverse of [`attach`].
pub(super) fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, kind: AttachType) -> io::Result<()> {
    bpf_attach(BPF_PROG_DETACH, cgroup, program, kind, 0)
}

fn bpf_attach(
    command: libc::c_long,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    kind: AttachType,
    flags: u32,
) -> io::Result<()> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: kind as u32,
        flags,
        replace: 0,
    };
    // SAFETY: the kernel reads as many bytes as said, all of them initialised.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const attributes,
            size_of::<AttachAttributes>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether the kernel has bpf(2), asked by a command that no kernel knows.
pub(super) fn has_bpf() -> bool {
    const NO_COMMAND: libc::c_long = 0xffff;
    // SAFETY: no attributes are passed, and none read.
    let result = unsafe { libc::syscall(libc::SYS_bpf, NO_COMMAND, std::ptr::null::<u8>(), 0) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// The cookie of a socket's network namespace (`SO_NETNS_COOKIE`, kernel 5.14).
pub(super) fn network_namespace_cookie(socket: impl AsFd) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0_u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into the cookie.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(cookie)
    }
}

/// CLOCK_MONOTONIC in nanoseconds: the clock of bpf_ktime_get_ns.
pub(super) fn monotonic_nanoseconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Registers a file with the runtime, to be told of `interest`.
pub(super) fn watch(file: File, interest: Interest) -> io::Result<AsyncFd<File>> {
    // SAFETY: a File names the same open descriptor for as long as the AsyncFd owns it.
    unsafe { AsyncFd::register_with_interest(file, interest) }.map_err(io::Error::from)
}

/// Has a command write "0" to `processes` (a `cgroup.procs`) before it executes: it moves itself in, so no moment
/// passes in which it runs outside.
pub(super) fn join_before_exec(command: &mut Command, processes: File) {
    let join = move || io::Write::write_all(&mut &processes, b"0");
    // SAFETY: the closure does one write(2) of static bytes to a descriptor that it owns: async-signal-safe, no
    // allocation, no lock.
    unsafe { command.pre_exec(join) };
}
