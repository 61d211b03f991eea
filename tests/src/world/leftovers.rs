//! What a run must not leave behind.

use std::path::PathBuf;

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
