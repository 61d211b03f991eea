//! A control group of the test's own, under which everything that it starts lives and dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cgroup2 directory, removed with all that runs in it when dropped.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
}

/// Where cgroup2 is mounted.
///
/// # Panics
/// If it is not.
pub fn mount_point() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let target = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(target))
        })
        .next()
        .expect("cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
}

impl ControlGroup {
    /// A new one directly under the mount point.
    ///
    /// # Panics
    /// If it cannot be made; that takes root.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = mount_point().join(format!("weir-test-{}-{number}", std::process::id()));
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("cannot make the cgroup {}: {error}", path.display()));
        Self { path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every process in it and below.
    pub fn processes(&self) -> Vec<i32> {
        processes(&self.path)
    }

    /// The cgroups below it, deepest first.
    pub fn below(&self) -> Vec<PathBuf> {
        let mut all = descendants(&self.path);
        all.reverse();
        all
    }
}

impl Default for ControlGroup {
    fn default() -> Self {
        Self::new()
    }
}

/// The ids of the processes in a cgroup and below.
pub fn processes(path: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for directory in std::iter::once(path.to_owned()).chain(descendants(path)) {
        let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found
}

/// All cgroups below `path`, parents before children.
pub fn descendants(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
            found.extend(descendants(&entry.path()));
        }
    }
    found
}

/// Waits until no process is in the cgroup or below; false if one stays for a minute.
pub fn wait_until_empty(path: &Path) -> bool {
    let events = path.join("cgroup.events");
    super::wait::for_file(&events, || {
        !fs::read_to_string(&events)
            .unwrap_or_default()
            .contains("populated 1")
    })
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // cgroup.kill came with Linux 5.14; Weir's floor is 5.15.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        wait_until_empty(&self.path);
        for directory in self.below() {
            let _ = fs::remove_dir(directory);
        }
        let _ = fs::remove_dir(&self.path);
    }
}
