//! Why a capture could not be started.

use std::io;
use std::path::{Path, PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

use super::{cgroup::CgroupError, pods::PodUid};

/// Why a capture could not be started. [`super::preflight::check`] finds the usual reasons before.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The sockets that connections are redirected to.
    #[error(
        "the listener on loopback could not be opened: {0} (it needs an interface `lo` that is up, and CAP_NET_ADMIN)"
    )]
    Listener(#[source] io::Error),
    /// The kernel refused maps or programs.
    #[error(
        "the kernel refuses BPF though the capabilities are there: {0}; kernel lockdown or a security module \
         (seccomp, SELinux, AppArmor) forbids it: see `dmesg`, or in a container give it no seccomp profile"
    )]
    Forbidden(#[source] io::Error),
    /// The object could not be loaded.
    #[error("the kernel programs could not be loaded: {0}")]
    Load(#[source] EbpfError),
    /// The kernel's verifier refused a program.
    #[error(
        "the kernel program {name} could not be loaded: {error} (please report this with the output of `uname -r`)"
    )]
    Program {
        /// Which.
        name: String,
        /// Why.
        #[source]
        error: ProgramError,
    },
    /// A map could not be read or written.
    #[error("a map of the kernel programs failed: {0}")]
    Map(#[from] MapError),
    /// A program could not be attached.
    #[error("the kernel program {name} could not be attached: {error}")]
    Attach {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        error: ProgramError,
    },
    /// Another program holds the cgroup for itself.
    #[error(
        "the kernel program {0} could not be attached: a program on a cgroup above forbids others (it was attached \
         without BPF_F_ALLOW_MULTI): find it with `bpftool cgroup tree`, or start Weir from another cgroup"
    )]
    Occupied(&'static str),
    /// Between finding a pod and attaching to it another took its place; the next look will find that one.
    #[error("the cgroup of pod {0} is not the one that was found")]
    Replaced(PodUid),
    /// There is no bpffs to pin anything in.
    #[error(
        "{path} is no bpffs: mount one (`mount -t bpf bpf {path}`; systemd does so at boot), and in a pod mount it by hostPath"
    )]
    NoBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// A pin, or a folder of them.
    #[error("{}: could not {action}: {error} (pinning needs CAP_BPF, and write access to this bpffs)", path.display())]
    Pin {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What came of it.
        #[source]
        error: io::Error,
    },
    /// The cgroup itself.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl From<EbpfError> for CaptureError {
    fn from(error: EbpfError) -> Self {
        match permission_denied(&error) {
            Some(denied) => Self::Forbidden(denied),
            None => Self::Load(error),
        }
    }
}

impl CaptureError {
    pub(super) fn loading(name: &str, error: ProgramError) -> Self {
        match permission_denied(&error) {
            Some(denied) => Self::Forbidden(denied),
            None => Self::Program {
                name: name.to_owned(),
                error,
            },
        }
    }

    pub(super) fn pin<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> Self + 'a {
        move |error| Self::Pin {
            path: path.to_owned(),
            action,
            error,
        }
    }

    pub(super) fn attaching(name: &'static str, error: ProgramError) -> Self {
        match permission_denied(&error) {
            Some(_) => Self::Occupied(name),
            None => Self::Attach { name, error },
        }
    }
}

/// EPERM, wherever aya wrapped it.
fn permission_denied(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error() == Some(libc::EPERM)
        {
            return Some(io::Error::from_raw_os_error(libc::EPERM));
        }
        cause = error.source();
    }
    None
}
