//! Ending a cluster.

use std::fs;

use xtask::cluster_paths::ClusterPaths;

use super::cgroups::Hierarchies;
use super::up::lock;
use crate::step::{self, Outcome};

/// Ends the cluster and removes what there is of it, however far it came and however it ended.
pub(crate) fn down(paths: &ClusterPaths) -> Outcome {
    let existed = paths.folder().exists();
    let guard = lock()?;
    remove(paths)?;
    // Gone with the last cluster; others may be in it.
    let _ = fs::remove_dir(ClusterPaths::parent());
    drop(guard);
    if existed {
        step::say(&format!("the cluster `{paths}` is gone"));
    } else {
        step::say(&format!("there is no cluster `{paths}`"));
    }
    Ok(())
}

/// The same for who holds the lock already. Namespaces, and with them networks and mounts, end with the last process in them.
pub(super) fn remove(paths: &ClusterPaths) -> Outcome {
    Hierarchies::find()?.end(paths)?;
    match fs::remove_dir_all(paths.folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", paths.folder().display()))
        }
        _ => Ok(()),
    }
}
