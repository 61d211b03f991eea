//! bpf links of cgroups, and their pins in bpffs. aya has links, but can neither take over a pinned one of a cgroup nor
//! give it another program.

use std::{
    ffi::CString,
    fs::File,
    io,
    mem::size_of,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use super::AttachType;

const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// A program attached to a cgroup for as long as a descriptor or a pin holds it.
#[derive(Debug)]
pub(in crate::capture) struct Link(OwnedFd);

#[repr(C)]
struct CreateAttributes {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct UpdateAttributes {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct PinAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[repr(C)]
struct InfoAttributes {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_link_info` as far as it is of a cgroup's link.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    cgroup: u64,
    attach_type: u32,
    padding_after: u32,
}

impl Link {
    /// Attaches a program to a cgroup, beside others.
    pub(in crate::capture) fn create(
        program: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        kind: AttachType,
    ) -> io::Result<Self> {
        let attributes = CreateAttributes {
            program: number(program),
            target: number(cgroup),
            attach_type: kind as u32,
            flags: 0,
        };
        descriptor(bpf(BPF_LINK_CREATE, &attributes)?).map(Self)
    }

    /// The link that is pinned there.
    pub(in crate::capture) fn open(pin: &Path) -> io::Result<Self> {
        let path = c_path(pin)?;
        let attributes = PinAttributes {
            path: path.as_ptr() as u64,
            descriptor: 0,
            flags: 0,
        };
        descriptor(bpf(BPF_OBJ_GET, &attributes)?).map(Self)
    }

    /// Makes it outlive this process.
    pub(in crate::capture) fn pin(&self, pin: &Path) -> io::Result<()> {
        let path = c_path(pin)?;
        let attributes = PinAttributes {
            path: path.as_ptr() as u64,
            descriptor: number(self.0.as_fd()),
            flags: 0,
        };
        bpf(BPF_OBJ_PIN, &attributes).map(drop)
    }

    /// Puts another program into its place, with no moment in which there is none.
    pub(in crate::capture) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let attributes = UpdateAttributes {
            link: number(self.0.as_fd()),
            new_program: number(program),
            flags: 0,
            old_program: 0,
        };
        bpf(BPF_LINK_UPDATE, &attributes).map(drop)
    }

    /// Detaches the program, whoever else holds the link.
    pub(in crate::capture) fn detach(&self) -> io::Result<()> {
        bpf(BPF_LINK_DETACH, &number(self.0.as_fd())).map(drop)
    }

    /// The id of the cgroup that it is attached to, which is the inode of its folder; 0 where the cgroup is gone.
    pub(in crate::capture) fn cgroup(&self) -> io::Result<u64> {
        let mut info = LinkInfo::default();
        let attributes = InfoAttributes {
            descriptor: number(self.0.as_fd()),
            length: size_of::<LinkInfo>() as u32,
            info: (&raw mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes)?;
        Ok(info.cgroup)
    }
}

/// Whether a folder lies in a bpffs.
pub(crate) fn is_bpffs(folder: &File) -> io::Result<bool> {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    let status = nix::sys::statfs::fstatfs(folder)?;
    Ok(status.filesystem_type().0 == BPF_FS_MAGIC)
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let raw = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn bpf<A>(command: libc::c_long, attributes: &A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads as many bytes as said, all of them initialised; what their addresses name lives in the
    // caller's frame, and is as long as said there.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
