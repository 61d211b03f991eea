//! What a run must not leave behind.

use std::os::fd::FromRawFd;
use std::path::PathBuf;

use nix::unistd::Pid;

use super::cgroup::ControlGroup;

/// The cgroups that runs of this world have left. Weir makes them below its own, which is the world's.
pub fn cgroups(world: &ControlGroup) -> Vec<PathBuf> {
    world.below()
}

/// Asserts that no run has left a cgroup, nor a record of itself.
///
/// # Panics
/// If one did.
pub fn assert_nothing(world: &ControlGroup) {
    let left = cgroups(world);
    assert!(left.is_empty(), "cgroups left behind: {left:?}");
    let records: Vec<PathBuf> = std::fs::read_dir("/run/weir/runs")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(|name| name != ".lock"))
        .collect();
    assert!(records.is_empty(), "records left behind: {records:?}");
}

/// Programs, maps and links that a process holds in the kernel, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelObjects {
    /// `BPF_PROG_GET_FD_BY_ID` and the like, with an id for each.
    objects: Vec<(Kind, u32)>,
}

/// The commands of bpf(2) that open an object by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program = 13,
    Map = 14,
    Link = 30,
}

impl KernelObjects {
    /// What the process has open, from its fdinfo (Documentation/filesystems/proc.rst). It must be running.
    pub fn held_by(process: Pid) -> Self {
        let mut objects = Vec::new();
        let directory = std::fs::read_dir(format!("/proc/{process}/fdinfo"))
            .into_iter()
            .flatten();
        for entry in directory.flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            // A link's fdinfo names its program too: the first of these lines is the object itself, in this order.
            let id = |field: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(field)?.trim().parse().ok())
            };
            let found = [
                ("link_id:", Kind::Link),
                ("prog_id:", Kind::Program),
                ("map_id:", Kind::Map),
            ]
            .into_iter()
            .find_map(|(field, kind)| id(field).map(|id| (kind, id)));
            objects.extend(found);
        }
        Self { objects }
    }

    /// Whether there is anything at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Asserts that the kernel has none of them any more.
    ///
    /// # Panics
    /// If one is there still after a minute; the kernel frees some of them a grace period after the last descriptor was closed.
    pub fn assert_gone(&self) {
        let deadline = std::time::Instant::now() + super::wait::PATIENCE;
        loop {
            let left: Vec<_> = self
                .objects
                .iter()
                .filter(|(kind, id)| exists(*kind, *id))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "left in the kernel: {left:?}"
            );
            // No event tells of it.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]
fn exists(kind: Kind, id: u32) -> bool {
    // union bpf_attr: the id first, then next_id and open_flags, all zero beyond.
    let attributes = [id, 0, 0];
    // SAFETY: bpf(2) reads as many bytes as it is told that there are, and for these commands writes none.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            kind as i32,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    let Ok(descriptor) = i32::try_from(descriptor) else {
        return false;
    };
    if descriptor < 0 {
        let error = std::io::Error::last_os_error();
        assert_eq!(
            error.raw_os_error(),
            Some(libc::ENOENT),
            "bpf({kind:?}, {id}): {error}"
        );
        return false;
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) });
    true
}
