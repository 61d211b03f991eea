//! The cgroup whose processes are captured.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;
use tokio::io::Interest;

use super::sys;

/// Why a cgroup could not be found, made, read or removed.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// No cgroup2 file system.
    #[error(
        "no cgroup2 file system is mounted: capture needs one (`mount -t cgroup2 none /sys/fs/cgroup/unified` \
         beside cgroup v1, or boot with systemd.unified_cgroup_hierarchy=1)"
    )]
    NotMounted,
    /// This process's own cgroup lies outside what is mounted.
    #[error(
        "this process's cgroup {own} is not visible in any cgroup2 file system mounted here: \
         start Weir in the host's cgroup namespace, or mount its cgroup2"
    )]
    NotVisible {
        /// The path in /proc/self/cgroup.
        own: String,
    },
    /// An operation on a file failed.
    #[error("{path}: could not {action}: {error}{}", mend(.error))]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What came of it.
        #[source]
        error: io::Error,
    },
}

fn mend(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EROFS) => " (cgroupfs is mounted read-only here: in a container, run it privileged)",
        Some(libc::EACCES | libc::EPERM) => {
            " (only root, with CAP_DAC_OVERRIDE, may make cgroups here: use sudo)"
        }
        Some(libc::EBUSY) => " (a process still runs in it)",
        _ => "",
    }
}

pub(super) fn file_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> CgroupError + 'a {
    move |error| CgroupError::File {
        path: path.to_owned(),
        action,
        error,
    }
}

/// Where this process stands in the cgroup2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The folder of this process's own cgroup.
    pub own: PathBuf,
}

impl Hierarchy {
    /// Where cgroup2 is mounted, at least once.
    pub fn mounts() -> Result<Vec<PathBuf>, CgroupError> {
        let mounts = mount_points(&read("/proc/mounts")?);
        if mounts.is_empty() {
            return Err(CgroupError::NotMounted);
        }
        Ok(mounts)
    }

    /// Finds the mount point in /proc/mounts (it is at /sys/fs/cgroup/unified beside cgroup v1) and this process's own
    /// cgroup in /proc/self/cgroup.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = Self::mounts()?;
        let own = own_cgroup(&read("/proc/self/cgroup")?).ok_or(CgroupError::NotMounted)?;
        mounts
            .into_iter()
            .map(|mount| mount.join(own.strip_prefix("/").unwrap_or(&own)))
            .find(|folder| folder.join("cgroup.procs").exists())
            .map(|own| Self { own })
            .ok_or_else(|| CgroupError::NotVisible {
                own: own.display().to_string(),
            })
    }
}

fn read(path: &'static str) -> Result<Vec<u8>, CgroupError> {
    fs::read(path).map_err(file_error(Path::new(path), "read"))
}

/// Where cgroup2 is mounted, by the text of /proc/mounts.
fn mount_points(mounts: &[u8]) -> Vec<PathBuf> {
    mounts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let (_device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            (kind == b"cgroup2").then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
        })
        .collect()
}

/// Undoes the kernel's escapes of /proc/mounts: `\040` for a space, also tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// The cgroup2 path of a process, by the text of /proc/PID/cgroup: the line of hierarchy 0.
fn own_cgroup(text: &[u8]) -> Option<PathBuf> {
    let path = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())))
}

/// A cgroup whose processes are captured.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a new one inside `parent`.
    pub fn create(parent: &Path, name: &str) -> Result<Self, CgroupError> {
        let path = parent.join(name);
        fs::create_dir(&path).map_err(file_error(&path, "make this cgroup"))?;
        Ok(Self { path })
    }

    /// One that exists.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its folder in cgroupfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> Result<File, CgroupError> {
        File::open(&self.path).map_err(file_error(&self.path, "open"))
    }

    /// Has a command enter this cgroup before it executes. Call it before any other `pre_exec` that gives up
    /// privileges: entering needs them.
    pub fn join_before_exec(&self, command: &mut Command) -> Result<(), CgroupError> {
        let file = self.path.join("cgroup.procs");
        let processes = OpenOptions::new()
            .write(true)
            .open(&file)
            .map_err(file_error(&file, "open"))?;
        sys::join_before_exec(command, processes);
        Ok(())
    }

    /// Whether a process runs in it or in a cgroup below it.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        let file = self.path.join("cgroup.events");
        let events = fs::read_to_string(&file).map_err(file_error(&file, "read"))?;
        Ok(is_populated(&events))
    }

    /// Waits until no process runs in it or below it.
    pub async fn emptied(&self) -> Result<(), CgroupError> {
        let path = self.path.join("cgroup.events");
        let error = file_error(&path, "watch");
        let file = File::open(&path).map_err(&error)?;
        // The kernel wakes pollers of this file with POLLPRI once it has been read and then changes.
        let events = sys::watch(file, Interest::PRIORITY).map_err(&error)?;
        loop {
            let mut text = [0; 256];
            let length =
                nix::sys::uio::pread(events.get_ref(), &mut text, 0).map_err(|errno| error(errno.into()))?;
            if !is_populated(&String::from_utf8_lossy(&text[..length])) {
                return Ok(());
            }
            events
                .ready(Interest::PRIORITY)
                .await
                .map_err(&error)?
                .clear_ready();
        }
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let mut found = Vec::new();
        each_folder(&self.path, &mut |folder| {
            let file = folder.join("cgroup.procs");
            match fs::read_to_string(&file) {
                Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
                // Gone meanwhile, or threaded: its processes are listed above it.
                Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(file_error(&file, "read")(error)),
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes it with the cgroups below it. Fails while a process runs in one of them. Removing one that is gone is no
    /// error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        each_folder(&self.path, &mut |folder| match fs::remove_dir(folder) {
            Err(error) if !is_gone(&error) => Err(file_error(folder, "remove this cgroup")(error)),
            _ => Ok(()),
        })
    }
}

/// Calls `action` for each cgroup below `folder`, deepest first, and for itself last.
fn each_folder(
    folder: &Path,
    action: &mut dyn FnMut(&Path) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(file_error(folder, "list")(error)),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_folder(&entry.path(), action)?;
        }
    }
    action(folder)
}

/// cgroupfs says ENODEV for a file whose cgroup went while it was open.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests;
