//! What capture needs of the machine, checked before anything is made, so that a missing piece is named in one line.

use std::fs;

use thiserror::Error;

use super::{
    cgroup::{CgroupError, Hierarchy},
    sys,
};

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// What the machine lacks, and how to get it.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// Not enough privileges.
    #[error(
        "capture needs {missing}: run Weir as root (sudo), or in a container with --privileged or --cap-add {first}"
    )]
    Capabilities {
        /// Their names, with "and" between them.
        missing: String,
        /// The first of them.
        first: &'static str,
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

/// Checks privileges, kernel and cgroup2, in this order. What it can't see (lockdown, security modules) shows when the
/// programs are loaded.
pub fn check() -> Result<(), PreflightError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_capabilities(effective_capabilities(&status).unwrap_or(u64::MAX))?;
    if !sys::has_bpf() {
        return Err(PreflightError::NoBpf);
    }
    Hierarchy::find()?;
    Ok(())
}

fn check_capabilities(effective: u64) -> Result<(), PreflightError> {
    let has = |capability: u32| effective >> capability & 1 == 1;
    let missing: Vec<&'static str> = [
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        // To read the kernel's program and map identifiers, and to make a mount namespace.
        ("CAP_SYS_ADMIN", has(CAP_SYS_ADMIN)),
    ]
    .into_iter()
    .filter_map(|(name, held)| (!held).then_some(name))
    .collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(PreflightError::Capabilities {
            missing: missing.join(" and "),
            first,
        }),
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert!(check_capabilities(u64::MAX).is_ok());
        let root_without_bpf = !(1 << CAP_BPF);
        assert!(
            check_capabilities(root_without_bpf).is_ok(),
            "CAP_SYS_ADMIN contains CAP_BPF"
        );
        let error = check_capabilities(0).expect_err("nothing is held").to_string();
        assert!(
            error.contains("CAP_BPF and CAP_NET_ADMIN and CAP_SYS_ADMIN"),
            "{error}"
        );
        assert!(error.contains("sudo"), "{error}");
    }

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(
            effective_capabilities("Name:\tweir\nCapEff:\t00000000a80425fb\n"),
            Some(0xa804_25fb)
        );
        assert_eq!(effective_capabilities("Name:\tweir\n"), None);
    }
}
