//! The runs of this machine: each has a cgroup and a record file, locked for as long as the run lives. A record that
//! nobody holds belongs to a run that was killed; the next run removes what it left.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use thiserror::Error;

use super::cgroup::{Cgroup, CgroupError, Hierarchy};

const NAME_PREFIX: &str = "weir-run-";
/// Held while a record is made or a sweep looks: a record is never seen before its run has locked it.
const GATE: &str = ".lock";

/// Why a run could not be begun, ended or swept.
#[derive(Debug, Error)]
pub enum RunError {
    /// The run directory or a record in it.
    #[error(
        "{path}: could not {action}: {error} (Weir keeps its runs' records here: it must be a folder that root can write)"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What came of it.
        #[source]
        error: io::Error,
    },
    /// The run's cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

fn record_error<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> RunError + 'a {
    move |error| RunError::Record {
        path: path.to_owned(),
        action,
        error,
    }
}

/// What a sweep found of runs that were killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Cgroups that are gone now.
    pub removed: Vec<PathBuf>,
    /// Cgroups in which a process still runs. Closed ones stay shut.
    pub still_populated: Vec<PathBuf>,
}

/// The folder of the records, `/run/weir/runs` by default.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Where the records are kept unless another place is named.
    pub const DEFAULT: &'static str = "/run/weir/runs";

    /// Makes the folder where it is missing.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(record_error(&path, "make this folder"))?;
        Ok(Self { path })
    }

    /// Begins a run: a cgroup below this process's own, and its record.
    pub fn begin(&self) -> Result<Run, RunError> {
        let parent = Hierarchy::find()?.own;
        let _gate = self.gate()?;
        let (name, record, path) = self.new_record()?;
        // The record comes first: whatever happens between, the next sweep knows of the cgroup.
        let cgroup_path = parent.join(&name);
        let written = (&record)
            .write_all(cgroup_path.as_os_str().as_encoded_bytes())
            .map_err(record_error(&path, "write"));
        let made = written.and_then(|()| Ok(Cgroup::create(&parent, &name)?));
        match made {
            Ok(cgroup) => Ok(Run {
                cgroup,
                record_path: path,
                record,
            }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn new_record(&self) -> Result<(String, File, PathBuf), RunError> {
        let name = unique_name();
        let path = self.path.join(&name);
        let record = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(record_error(&path, "make"))?;
        record.lock().map_err(record_error(&path, "lock"))?;
        Ok((name, record, path))
    }

    /// Removes what killed runs left: cgroups without processes, and their records.
    pub fn sweep_stale(&self) -> Result<Sweep, RunError> {
        let _gate = self.gate()?;
        let mut sweep = Sweep::default();
        let entries = fs::read_dir(&self.path).map_err(record_error(&self.path, "list"))?;
        for entry in entries.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(NAME_PREFIX) {
                continue;
            }
            let path = entry.path();
            let Some(record) = stale_record(&path)? else {
                continue;
            };
            let cgroup = PathBuf::from(io::read_to_string(&record).map_err(record_error(&path, "read"))?);
            if cgroup.file_name() == Some(&entry.file_name()) && cgroup.exists() {
                let stale = Cgroup::open(&cgroup);
                if stale.is_populated()? {
                    sweep.still_populated.push(cgroup);
                    continue;
                }
                stale.remove()?;
                sweep.removed.push(cgroup);
            }
            fs::remove_file(&path).map_err(record_error(&path, "remove"))?;
        }
        Ok(sweep)
    }

    fn gate(&self) -> Result<File, RunError> {
        let path = self.path.join(GATE);
        let gate = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(record_error(&path, "open"))?;
        gate.lock().map_err(record_error(&path, "lock"))?;
        Ok(gate)
    }
}

/// The record, if no living run holds it.
fn stale_record(path: &Path) -> Result<Option<File>, RunError> {
    let record = match File::open(path) {
        Ok(record) => record,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(record_error(path, "open")(error)),
    };
    match record.try_lock() {
        Ok(()) => Ok(Some(record)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(record_error(path, "lock")(error)),
    }
}

/// Several runs may begin in one process, and a process id returns.
fn unique_name() -> String {
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    let started = start_time().unwrap_or_default();
    match BEGUN.fetch_add(1, Ordering::Relaxed) {
        0 => format!("{NAME_PREFIX}{}-{started}", process::id()),
        number => format!("{NAME_PREFIX}{}-{started}-{number}", process::id()),
    }
}

/// When this process started, in clock ticks since boot: with its id, unique until the next boot.
fn start_time() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, which may itself hold spaces and parentheses.
    status
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// A run that lives: its cgroup and the lock on its record. Dropping it ends it as well as it can; [`Run::end`] says
/// what could not be removed.
#[derive(Debug)]
pub struct Run {
    cgroup: Cgroup,
    record_path: PathBuf,
    /// The record, open and locked.
    record: File,
}

impl Run {
    /// The cgroup of the run's processes.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Removes the cgroup and the record. While a process still runs in the cgroup both stay, for a later sweep, and the
    /// error says so.
    pub fn end(self) -> Result<(), RunError> {
        self.remove()
    }

    fn remove(&self) -> Result<(), RunError> {
        self.cgroup.remove()?;
        match fs::remove_file(&self.record_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(record_error(&self.record_path, "remove")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.remove();
        // To close it is not enough: a child that another thread has forked, and that has not come to its program yet, holds it too.
        let _ = self.record.unlock();
    }
}
