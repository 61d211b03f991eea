//! The cluster's cgroups: in every hierarchy one of its name, and in it one for the control plane and one for each node.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xtask::cluster_paths::{CONTROL_GROUP, ClusterPaths};

use crate::step::Outcome;

/// How long the kernel may take to end processes that were killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine's hierarchies, by where they are mounted.
pub(crate) struct Hierarchies {
    unified: PathBuf,
    version1: Vec<PathBuf>,
}

impl Hierarchies {
    /// As /proc/mounts has them.
    pub(crate) fn find() -> Outcome<Self> {
        let mounts = fs::read_to_string("/proc/mounts").map_err(|error| format!("/proc/mounts: {error}"))?;
        let of_type = |wanted: &str| -> Vec<PathBuf> {
            mounts
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split(' ').skip(1);
                    let target = fields.next()?;
                    (fields.next()? == wanted).then(|| PathBuf::from(target))
                })
                .collect()
        };
        let unified = of_type("cgroup2").into_iter().next().ok_or(
            "cgroup2 is mounted nowhere: mount it, for instance at /sys/fs/cgroup/unified; Weir captures by it",
        )?;
        let version1 = of_type("cgroup");
        if version1.is_empty() {
            return Err(
                "this machine has cgroup2 alone; the cluster's nodes take the hierarchies of version 1 beside it (boot with \
                 systemd.unified_cgroup_hierarchy=0)"
                    .to_owned(),
            );
        }
        Ok(Self { unified, version1 })
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.version1.iter().chain([&self.unified])
    }

    /// Makes the cgroup for the control plane. Only cgroup2: it is the one that ends its processes.
    pub(crate) fn for_control_plane(&self, paths: &ClusterPaths) -> Outcome<Vec<PathBuf>> {
        let group = paths.control_group(&self.unified).join("control-plane");
        make(&group)?;
        Ok(vec![group])
    }

    /// Makes a node's cgroup in every hierarchy.
    pub(crate) fn for_node(&self, paths: &ClusterPaths, node: &str) -> Outcome<Vec<PathBuf>> {
        let mut groups = Vec::new();
        for hierarchy in self.all() {
            let group = paths.control_group(hierarchy).join(node);
            make(&group)?;
            // A new cpuset is empty, and takes no process before it has processors and memory.
            let mut above = hierarchy.clone();
            for part in [CONTROL_GROUP, paths.name(), node] {
                let below = above.join(part);
                inherit(&above, &below, "cpuset.cpus")?;
                inherit(&above, &below, "cpuset.mems")?;
                above = below;
            }
            groups.push(group);
        }
        Ok(groups)
    }

    /// Kills all processes of the cluster, and removes its cgroups.
    pub(crate) fn end(&self, paths: &ClusterPaths) -> Outcome {
        let group = paths.control_group(&self.unified);
        if group.exists() {
            kill(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        }
        for hierarchy in self.all() {
            remove(&paths.control_group(hierarchy))?;
            // Other clusters may be in it.
            let _ = fs::remove_dir(hierarchy.join(CONTROL_GROUP));
        }
        Ok(())
    }
}

/// Copies a setting from the cgroup above; version 2, and other controllers, do not have it.
fn inherit(above: &Path, below: &Path, setting: &str) -> Outcome {
    let (from, to) = (above.join(setting), below.join(setting));
    if !from.is_file() || !to.is_file() {
        return Ok(());
    }
    let named = |error: io::Error| format!("{}: {error}", to.display());
    if fs::read_to_string(&to).map_err(named)?.trim().is_empty() {
        let value = fs::read_to_string(&from).map_err(named)?;
        fs::write(&to, value.trim()).map_err(named)?;
    }
    Ok(())
}

/// `cgroup.kill` (Linux 5.14) takes the descendants too, and what forks meanwhile.
fn kill(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.kill"), "1")?;
    let path = group.join("cgroup.events");
    loop {
        // Opened anew: POLLPRI tells of changes since the last reading.
        let events = fs::File::open(&path)?;
        if io::read_to_string(&events)?
            .lines()
            .any(|line| line == "populated 0")
        {
            return Ok(());
        }
        let mut descriptors = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        if poll(&mut descriptors, patience)? == 0 {
            return Err(io::Error::other(
                "processes that were killed a minute ago have not ended",
            ));
        }
    }
}

/// Removes a cgroup and all below it.
fn remove(group: &Path) -> Outcome {
    let Ok(entries) = fs::read_dir(group) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group).map_err(|error| format!("{}: {error}", group.display()))
}

fn make(group: &Path) -> Outcome {
    fs::create_dir_all(group).map_err(|error| format!("{}: {error}", group.display()))
}
