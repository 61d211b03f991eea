//! Looks once at all pods of the node.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::path::{PodUid, is_class, is_kubepods, pod};
use crate::capture::{CgroupError, Hierarchy, PodSandbox, cgroup::file_error};
use crate::network_namespace::{NamespaceIdentity, NetworkNamespace};

/// How deep kubelet's pods may begin: `--cgroup-root` is seldom more than one folder.
const DEEPEST_KUBEPODS: usize = 6;

/// How many folders are looked at for where pods begin, so that a machine with more cgroups than that is not searched
/// through each time.
const MOST_FOLDERS: usize = 20_000;

/// What was found of a pod.
#[derive(Clone, Debug)]
pub enum Found {
    /// Its cgroup is there, and no process in it yet, or any more.
    Empty,
    /// It is in the host's network namespace, which is the node's to use: never captured.
    HostNetwork,
    /// It has a network namespace of its own.
    Sandbox(PodSandbox),
}

/// All pods of the node, by uid.
pub type Pods = BTreeMap<PodUid, Found>;

/// Finds pods in cgroupfs and proc. What it has opened it keeps for as long as it is the same.
#[derive(Debug)]
pub(super) struct Scanner {
    cgroups: Vec<PathBuf>,
    proc: PathBuf,
    known: BTreeMap<PodUid, PodSandbox>,
}

/// What a look gave.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) pods: Pods,
    /// Folders in which pods or containers come and go.
    pub(super) folders: Vec<PathBuf>,
}

impl Scanner {
    /// Looks below this folder, or wherever cgroup2 is mounted; and for processes in this mount of proc.
    pub(super) fn new(cgroup_root: Option<&Path>, proc: &Path) -> Result<Self, CgroupError> {
        let cgroups = match cgroup_root {
            Some(root) => Hierarchy::mounted_below(root)?,
            None => Hierarchy::mounts()?,
        };
        Ok(Self {
            cgroups,
            proc: proc.to_owned(),
            known: BTreeMap::new(),
        })
    }

    pub(super) fn look(&mut self) -> Look {
        let mut look = Look::default();
        let hosts = self.hosts();
        let mut found: Vec<(PodUid, PathBuf)> = Vec::new();
        for mount in &self.cgroups {
            for kubepods in kubepods_below(mount) {
                pods_in(&kubepods, &mut found, &mut look.folders);
            }
        }
        // One hierarchy may be mounted at two places.
        found.sort();
        found.dedup_by(|pod, before| pod.0 == before.0);
        let namespaces: Vec<Option<(i32, NamespaceIdentity)>> = found
            .iter()
            .map(|(_, cgroup)| self.namespace_of(cgroup, &hosts))
            .collect();
        let mut users: BTreeMap<NamespaceIdentity, usize> = BTreeMap::new();
        for (_, identity) in namespaces.iter().flatten() {
            *users.entry(*identity).or_default() += 1;
        }
        for ((uid, cgroup), namespace) in found.into_iter().zip(namespaces) {
            let what = match namespace {
                None => Found::Empty,
                // Pods never share a namespace but a host's: that of a node that is itself a container may be neither
                // ours nor that of process 1.
                Some((_, identity)) if hosts.contains(&identity) || users[&identity] > 1 => {
                    Found::HostNetwork
                }
                Some((process, identity)) => self.sandbox(&uid, cgroup, process, identity),
            };
            look.pods.insert(uid, what);
        }
        self.known.retain(|uid, _| look.pods.contains_key(uid));
        look
    }

    /// The network namespaces that are no pod's to be captured in: that of the node's first process, and our own.
    fn hosts(&self) -> BTreeSet<NamespaceIdentity> {
        let own = NetworkNamespace::own().map(|namespace| namespace.identity());
        let first = self.identity(1);
        own.into_iter().chain(first).collect()
    }

    fn identity(&self, process: i32) -> io::Result<NamespaceIdentity> {
        NamespaceIdentity::of(&self.proc.join(process.to_string()).join("ns/net"))
    }

    fn sandbox(&mut self, uid: &PodUid, cgroup: PathBuf, process: i32, identity: NamespaceIdentity) -> Found {
        let inode = fs::metadata(&cgroup).map(|metadata| metadata.ino()).ok();
        if let Some(known) = self.known.get(uid)
            && known.network_namespace.identity() == identity
            && known.cgroup == cgroup
            && Some(known.cgroup_id) == inode
        {
            return Found::Sandbox(known.clone());
        }
        let opened = NetworkNamespace::of_process(&self.proc, process);
        // Between the look and the opening the process may have gone, and its number to another.
        match (opened, inode) {
            (Ok(namespace), Some(cgroup_id)) if namespace.identity() == identity => {
                let sandbox = PodSandbox {
                    uid: uid.clone(),
                    cgroup,
                    cgroup_id,
                    network_namespace: Arc::new(namespace),
                };
                self.known.insert(uid.clone(), sandbox.clone());
                Found::Sandbox(sandbox)
            }
            _ => Found::Empty,
        }
    }

    /// The network namespace of a pod's oldest process, which is that of its sandbox: an app's own may have made others. A container's
    /// monitor, which CRI-O can be told to put into the pod's cgroup, is older and in a host's: that is the pod's only if all are in it.
    fn namespace_of(
        &self,
        cgroup: &Path,
        hosts: &BTreeSet<NamespaceIdentity>,
    ) -> Option<(i32, NamespaceIdentity)> {
        let containers = fs::read_dir(cgroup).ok()?.flatten();
        let containers = containers
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path());
        std::iter::once(cgroup.to_owned())
            .chain(containers)
            .filter_map(|folder| first_process(&folder))
            .filter_map(|process| {
                let identity = self.identity(process).ok()?;
                Some((
                    hosts.contains(&identity),
                    started(&self.proc, process)?,
                    process,
                    identity,
                ))
            })
            .min_by_key(|(is_hosts, started, process, _)| (*is_hosts, *started, *process))
            .map(|(_, _, process, identity)| (process, identity))
    }
}

/// The folders in which kubelet's pods begin.
fn kubepods_below(mount: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut to_look_at = VecDeque::from([(mount.to_owned(), 0)]);
    let mut looked_at = 0;
    while let Some((folder, depth)) = to_look_at.pop_front() {
        looked_at += 1;
        if looked_at > MOST_FOLDERS {
            break;
        }
        for (name, path) in folders_in(&folder) {
            if is_kubepods(&name) {
                found.push(path);
            } else if depth + 1 < DEEPEST_KUBEPODS {
                to_look_at.push_back((path, depth + 1));
            }
        }
    }
    found
}

fn pods_in(kubepods: &Path, found: &mut Vec<(PodUid, PathBuf)>, folders: &mut Vec<PathBuf>) {
    let mut parents = vec![kubepods.to_owned()];
    let kubepods_name = name_of(kubepods);
    while let Some(parent) = parents.pop() {
        let parent_name = name_of(&parent);
        for (name, path) in folders_in(&parent) {
            if parent == kubepods && is_class(&kubepods_name, &name) {
                parents.push(path);
            } else if let Some(uid) = pod(&parent_name, &name) {
                folders.push(path.clone());
                found.push((uid, path));
            }
        }
        folders.push(parent);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_owned()
}

/// What can't be listed is gone.
fn folders_in(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

fn first_process(cgroup: &Path) -> Option<i32> {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
    // 0: a process of another PID namespace than ours.
    processes
        .lines()
        .filter_map(|line| line.parse().ok())
        .find(|&process| process != 0)
}

/// When a process started, in clock ticks since boot.
fn started(proc: &Path, process: i32) -> Option<u64> {
    let status = fs::read_to_string(proc.join(process.to_string()).join("stat")).ok()?;
    // The second field is the name in parentheses, which may itself hold spaces and parentheses.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    fields.nth(19)?.parse().ok()
}

impl Hierarchy {
    /// Where cgroup2 is mounted at or below `root`; `root` itself if it lies inside of such a mount.
    fn mounted_below(root: &Path) -> Result<Vec<PathBuf>, CgroupError> {
        let below: Vec<PathBuf> = Self::mounts()?
            .into_iter()
            .filter(|mount| mount.starts_with(root))
            .collect();
        if !below.is_empty() {
            return Ok(below);
        }
        if root.join("cgroup.procs").exists() {
            return Ok(vec![root.to_owned()]);
        }
        let missing = io::Error::new(io::ErrorKind::NotFound, "no cgroup2 is mounted there or below");
        Err(file_error(root, "find pods")(missing))
    }
}
