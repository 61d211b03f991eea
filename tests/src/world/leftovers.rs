//! What a run must not leave behind.

use std::path::PathBuf;

use nix::unistd::Pid;

use super::cgroup::{self, ControlGroup};

/// The cgroups of `weir run` that belong to `process`, or that stand in the world's own.
pub fn cgroups(world: &ControlGroup, process: Pid) -> Vec<PathBuf> {
    let mine = process.to_string();
    let everywhere = cgroup::descendants(&cgroup::mount_point());
    everywhere
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("weir-run-")
                && (path.starts_with(world.path()) || name.split('-').any(|part| part == mine))
        })
        .collect()
}

/// Asserts that the run of `process` left no cgroup.
///
/// # Panics
/// If it did.
pub fn assert_no_cgroup(world: &ControlGroup, process: Pid) {
    let left = cgroups(world, process);
    assert!(left.is_empty(), "cgroups left behind: {left:?}");
}
