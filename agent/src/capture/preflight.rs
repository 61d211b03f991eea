//! What capture needs of the machine, checked before anything is made, so that a missing piece is named in one line.

use std::fs;

use thiserror::Error;

use super::{
    cgroup::{CgroupError, Hierarchy},
    kernel, sys,
};

/// The oldest kernel whose verifier and helpers the programs are made for.
const FLOOR: kernel::Version = (5, 15);

/// A capability's name and its number (`linux/capability.h`).
pub type Capability = (&'static str, u32);

/// A capability, and what it is for.
pub type Need = (Capability, &'static str);

const CAP_KILL: Capability = ("CAP_KILL", 5);
const CAP_SETGID: Capability = ("CAP_SETGID", 6);
const CAP_SETUID: Capability = ("CAP_SETUID", 7);
const CAP_NET_ADMIN: Capability = ("CAP_NET_ADMIN", 12);
const CAP_SYS_PTRACE: Capability = ("CAP_SYS_PTRACE", 19);
const CAP_SYS_ADMIN: Capability = ("CAP_SYS_ADMIN", 21);
const CAP_PERFMON: Capability = ("CAP_PERFMON", 38);
const CAP_BPF: Capability = ("CAP_BPF", 39);

/// Found by trial, one taken away at a time. CAP_BPF: to make maps and load programs. CAP_PERFMON: without it the verifier refuses
/// pointer arithmetic that compilers take for granted. CAP_NET_ADMIN: to mark the listener, and to attach to a cgroup.
pub const FOR_CAPTURE: [Need; 3] = [
    (CAP_BPF, "load programs and maps"),
    (CAP_PERFMON, "have the verifier take them"),
    (CAP_NET_ADMIN, "attach them, and mark the listener"),
];

/// What an agent of a node needs: as [`FOR_CAPTURE`], and to stand in pods' network namespaces.
pub const FOR_NODE: [Need; 5] = [
    (CAP_BPF, "load programs and maps"),
    (CAP_PERFMON, "have the verifier take them"),
    (CAP_NET_ADMIN, "attach them, and mark the listener"),
    (CAP_SYS_ADMIN, "enter pods' network namespaces"),
    (CAP_SYS_PTRACE, "see which network namespace a process is in"),
];

/// To become that user, and to signal what then runs as that user.
pub const FOR_ANOTHER_USER: [Need; 3] = [
    (CAP_SETUID, "become the command's user"),
    (CAP_SETGID, "have that user's groups"),
    (CAP_KILL, "pass signals on to it"),
];

/// What the machine lacks, and how to get it.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// Not enough privileges.
    #[error("{purpose} needs {}: run Weir as root (sudo), or in a container with --privileged or{}", .missing.join(" and "), added(.missing))]
    Capabilities {
        /// What for.
        purpose: &'static str,
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// A kernel that is too old.
    #[error("this kernel is {release}: capture needs Linux {}.{} or later", FLOOR.0, FLOOR.1)]
    Kernel {
        /// As `uname -r` says it.
        release: String,
    },
    /// A kernel built without BPF, or a container that hides it.
    #[error(
        "this kernel has no bpf system call: capture needs Linux 5.15 or later \
         built with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF, as every distribution's is"
    )]
    NoBpf,
    /// No usable cgroup2.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

fn added(missing: &[&str]) -> String {
    missing.iter().map(|name| format!(" --cap-add {name}")).collect()
}

/// What the running kernel calls itself, if it is new enough; or has a name that says nothing.
pub fn kernel() -> Result<String, PreflightError> {
    match kernel::running() {
        Some((release, version)) => check_kernel(&release, version).map(|()| release),
        None => Ok("of no known version".to_owned()),
    }
}

/// Whether there is a bpf system call.
pub fn bpf() -> Result<(), PreflightError> {
    if sys::has_bpf() {
        Ok(())
    } else {
        Err(PreflightError::NoBpf)
    }
}

/// Those of `needs` that this process lacks.
pub fn missing(needs: &[Need]) -> Vec<Need> {
    lacking(needs, effective_capabilities())
}

/// Checks kernel, privileges and cgroup2, in this order. What it can't see (lockdown, security modules) shows when the
/// programs are loaded.
pub fn check() -> Result<(), PreflightError> {
    kernel()?;
    check_capabilities("capture", &FOR_CAPTURE, effective_capabilities())?;
    bpf()?;
    Hierarchy::find()?;
    Ok(())
}

/// Checks the privileges that it takes beside those of [`check`] to run a command as another user.
pub fn check_change_of_user() -> Result<(), PreflightError> {
    check_capabilities(
        "running the command as another user",
        &FOR_ANOTHER_USER,
        effective_capabilities(),
    )
}

fn check_kernel(release: &str, version: kernel::Version) -> Result<(), PreflightError> {
    if version < FLOOR {
        let release = release.to_owned();
        return Err(PreflightError::Kernel { release });
    }
    Ok(())
}

fn check_capabilities(purpose: &'static str, wanted: &[Need], effective: u64) -> Result<(), PreflightError> {
    let missing: Vec<&'static str> = lacking(wanted, effective)
        .iter()
        .map(|((name, _), _)| *name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PreflightError::Capabilities { purpose, missing })
    }
}

fn lacking(wanted: &[Need], effective: u64) -> Vec<Need> {
    let holds = |(_, number): Capability| effective >> number & 1 == 1;
    // For programs' sake CAP_SYS_ADMIN stands for what was split off from it in Linux 5.8.
    let covered = |wanted| (wanted == CAP_BPF || wanted == CAP_PERFMON) && holds(CAP_SYS_ADMIN);
    wanted
        .iter()
        .filter(|(wanted, _)| !holds(*wanted) && !covered(*wanted))
        .copied()
        .collect()
}

/// This process's. All of them where /proc does not say: then the kernel's own refusal has to do.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_effective(&status).unwrap_or(u64::MAX)
}

fn parse_effective(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(capabilities: &[Capability]) -> u64 {
        capabilities.iter().map(|(_, number)| 1 << number).sum()
    }

    fn capture_with(capabilities: &[Capability]) -> Result<(), String> {
        check_capabilities("capture", &FOR_CAPTURE, set(capabilities)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_held_is_enough_in_either_way() {
        assert_eq!(capture_with(&[CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN]), Ok(()));
        assert_eq!(capture_with(&[CAP_SYS_ADMIN, CAP_NET_ADMIN]), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named_with_the_mend() {
        for (held, wanted) in [
            (
                &[][..],
                "capture needs CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN: run Weir as root (sudo), or in a container \
                 with --privileged or --cap-add CAP_BPF --cap-add CAP_PERFMON --cap-add CAP_NET_ADMIN",
            ),
            (
                &[CAP_BPF, CAP_NET_ADMIN],
                "capture needs CAP_PERFMON: run Weir as root (sudo), or in a container with --privileged or --cap-add \
                 CAP_PERFMON",
            ),
            (
                &[CAP_SYS_ADMIN],
                "capture needs CAP_NET_ADMIN: run Weir as root (sudo), or in a container with --privileged or --cap-add \
                 CAP_NET_ADMIN",
            ),
        ] {
            assert_eq!(capture_with(held), Err(wanted.to_owned()));
        }
    }

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(
            parse_effective("Name:\tweir\nCapEff:\t00000000a80425fb\n"),
            Some(0xa804_25fb)
        );
        assert_eq!(parse_effective("Name:\tweir\n"), None);
    }

    #[test]
    fn a_kernel_below_the_floor_is_named() {
        let error = check_kernel("5.10.0-28-amd64", (5, 10)).expect_err("it is too old");
        assert_eq!(
            error.to_string(),
            "this kernel is 5.10.0-28-amd64: capture needs Linux 5.15 or later"
        );
        assert!(check_kernel("4.19.0", (4, 19)).is_err());
        assert!(check_kernel("5.15.0-91-generic", (5, 15)).is_ok());
        assert!(check_kernel("6.1.0-32-amd64", (6, 1)).is_ok());
    }
}
