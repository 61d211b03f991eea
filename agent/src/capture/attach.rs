//! Attaches the loaded programs to a cgroup, and detaches them.
//!
//! Under Open every attachment is a link that this process owns: it dies with us, however we die. Under Closed those
//! that refuse are attached without a link, and so outlive us, until the cgroup goes: what is left inside stays shut.

use std::{fs::File, os::fd::AsFd};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, ProgramFd},
};

use super::{
    CaptureError, FailurePolicy,
    cgroup::Cgroup,
    sys::{self, AttachType},
};

/// These only serve what was captured. They come first, so that nothing is captured without them.
pub(super) const SERVING: [(&str, AttachType); 3] = [
    ("weir_sock_ops", AttachType::SocketOperations),
    ("weir_getpeername4", AttachType::PeerName4),
    ("weir_getpeername6", AttachType::PeerName6),
];

/// These redirect and refuse.
pub(super) const DECIDING: [(&str, AttachType); 5] = [
    ("weir_egress", AttachType::EgressPackets),
    ("weir_connect4", AttachType::Connect4),
    ("weir_connect6", AttachType::Connect6),
    ("weir_sendmsg4", AttachType::SendMessage4),
    ("weir_sendmsg6", AttachType::SendMessage6),
];

/// Programs attached to a cgroup. Dropping it detaches them.
pub(super) struct Attachments {
    /// Those that would outlive us.
    lasting: Vec<(ProgramFd, AttachType)>,
    cgroup: File,
    /// Holds the links.
    programs: Ebpf,
}

impl Attachments {
    pub(super) fn attach(
        programs: Ebpf,
        cgroup: &Cgroup,
        on_failure: FailurePolicy,
    ) -> Result<Self, CaptureError> {
        let mut attachments = Self {
            lasting: Vec::new(),
            cgroup: cgroup.directory()?,
            programs,
        };
        for (name, _) in SERVING {
            attachments
                .link(name)
                .map_err(|error| CaptureError::attaching(name, error))?;
        }
        for (name, kind) in DECIDING {
            match on_failure {
                FailurePolicy::Open => attachments.link(name),
                FailurePolicy::Closed => attachments.fasten(name, kind),
            }
            .map_err(|error| CaptureError::attaching(name, error))?;
        }
        Ok(attachments)
    }

    /// For as long as this process lives.
    fn link(&mut self, name: &str) -> Result<(), ProgramError> {
        // A link always lets others attach beside it; asking for that is an error.
        const MODE: CgroupAttachMode = CgroupAttachMode::Single;
        match program(&mut self.programs, name)? {
            Program::SockOps(program) => {
                program.attach(&self.cgroup, MODE)?;
            }
            Program::CgroupSockAddr(program) => {
                program.attach(&self.cgroup, MODE)?;
            }
            Program::CgroupSkb(program) => {
                program.attach(&self.cgroup, CgroupSkbAttachType::Egress, MODE)?;
            }
            _ => return Err(ProgramError::UnexpectedProgramType),
        }
        Ok(())
    }

    /// For as long as the cgroup lives.
    fn fasten(&mut self, name: &str, kind: AttachType) -> Result<(), ProgramError> {
        let descriptor = program(&mut self.programs, name)?.fd()?.try_clone()?;
        sys::attach(self.cgroup.as_fd(), descriptor.as_fd(), kind)?;
        self.lasting.push((descriptor, kind));
        Ok(())
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        for (program, kind) in self.lasting.drain(..) {
            if let Err(error) = sys::detach(self.cgroup.as_fd(), program.as_fd(), kind) {
                tracing::warn!(%error, ?kind, "a program could not be detached; it goes with its cgroup");
            }
        }
    }
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, ProgramError> {
    programs
        .program_mut(name)
        .ok_or_else(|| ProgramError::InvalidName {
            name: name.to_owned(),
        })
}
