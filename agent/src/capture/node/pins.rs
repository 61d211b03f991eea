//! What outlives the agent: maps and links, pinned in bpffs.
//!
//! `ROOT/weir/VERSION/maps/NAME` and `ROOT/weir/VERSION/pods/UID/PROGRAM`. The version is that of the maps' layout: an agent
//! with another layout has a folder of its own, and removes the others' pins of each pod that it captures, and in the end the rest.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::super::{
    CaptureError,
    attach::{DECIDING, SERVING},
    pods::PodUid,
    sys::links::{self, Link},
};

/// To be raised with every change of a map's key, value, kind or capacity.
const VERSION: &str = "v1";
const PODS: &str = "pods";

/// A folder of pins: its version in one bpffs, wherever that is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinsIdentity {
    /// The bpffs, as the kernel numbers it.
    pub device: u64,
    /// The folder of the version.
    pub inode: u64,
}

#[derive(Debug)]
pub(super) struct Pins {
    weir: PathBuf,
    version: PathBuf,
}

impl Pins {
    /// Makes the folders where they are missing.
    pub(super) fn open(root: &Path) -> Result<Self, CaptureError> {
        let pins = Self::existing(root)?;
        for folder in [pins.maps(), pins.pods()] {
            make(&folder)?;
        }
        Ok(pins)
    }

    /// Makes nothing.
    pub(super) fn existing(root: &Path) -> Result<Self, CaptureError> {
        let is_bpffs = File::open(root).and_then(|folder| links::is_bpffs(&folder));
        match is_bpffs {
            Ok(true) => {}
            Ok(false) => {
                return Err(CaptureError::NoBpffs {
                    path: root.to_owned(),
                });
            }
            Err(error) => return Err(CaptureError::pin(root, "open")(error)),
        }
        Ok(Self {
            weir: root.join("weir"),
            version: root.join("weir").join(VERSION),
        })
    }

    pub(super) fn identity(&self) -> Result<PinsIdentity, CaptureError> {
        let metadata = fs::metadata(&self.version).map_err(CaptureError::pin(&self.version, "look at"))?;
        Ok(PinsIdentity {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.version.join("maps")
    }

    fn pods(&self) -> PathBuf {
        self.version.join(PODS)
    }

    /// The pod's folder, made where it is missing.
    pub(super) fn make_pod(&self, uid: &PodUid) -> Result<PathBuf, CaptureError> {
        let folder = self.pod(uid);
        make(&folder)?;
        Ok(folder)
    }

    pub(super) fn pod(&self, uid: &PodUid) -> PathBuf {
        self.pods().join(uid.as_str())
    }

    /// The pods that something is pinned for, of this version.
    pub(super) fn pinned_pods(&self) -> Result<Vec<PodUid>, CaptureError> {
        let pods = self.pods();
        pods_in(&pods).map_err(CaptureError::pin(&pods, "list"))
    }

    /// The same, of any version. What another pinned otherwise is not seen.
    pub(super) fn pinned_pods_of_any_version(&self) -> Result<Vec<PodUid>, CaptureError> {
        let mut pods = self.pinned_pods()?;
        let others = self.other_versions()?;
        pods.extend(
            others
                .iter()
                .flat_map(|version| pods_in(&version.join(PODS)).unwrap_or_default()),
        );
        Ok(pods)
    }

    fn other_versions(&self) -> Result<Vec<PathBuf>, CaptureError> {
        let entries = fs::read_dir(&self.weir).map_err(CaptureError::pin(&self.weir, "list"))?;
        let folders = entries.flatten().map(|entry| entry.path());
        Ok(folders.filter(|folder| *folder != self.version).collect())
    }

    /// Whether the cgroup that a pod's links were made for is gone.
    pub(super) fn is_dead(&self, uid: &PodUid) -> bool {
        let folder = self.pod(uid);
        let Ok(entries) = fs::read_dir(&folder) else {
            return true;
        };
        !entries
            .flatten()
            .any(|entry| Link::open(&entry.path()).is_ok_and(|link| link.cgroup().is_ok_and(|id| id != 0)))
    }

    /// Detaches a pod's programs, those that decide first: what they have redirected is served to its end.
    pub(super) fn remove_pod(&self, uid: &PodUid) -> Result<(), CaptureError> {
        let folder = self.pod(uid);
        for (name, _) in DECIDING.iter().chain(&SERVING) {
            remove_pin(&folder.join(name))?;
        }
        remove_tree(&folder)
    }

    /// Detaches what other versions have attached to a pod.
    pub(super) fn remove_pod_of_other_versions(&self, uid: &PodUid) -> Result<(), CaptureError> {
        for version in self.other_versions()? {
            remove_tree(&version.join(PODS).join(uid.as_str()))?;
        }
        Ok(())
    }

    /// Removes what other versions have pinned.
    pub(super) fn remove_other_versions(&self) -> Result<(), CaptureError> {
        self.other_versions()?
            .iter()
            .try_for_each(|version| remove_tree(version))
    }

    /// Removes all that any version has pinned below this root: no program of Weir's pods is left attached. True if there
    /// was anything.
    pub(super) fn remove_all(root: &Path) -> Result<bool, CaptureError> {
        let weir = root.join("weir");
        let there = weir.exists();
        remove_tree(&weir)?;
        Ok(there)
    }
}

fn pods_in(folder: &Path) -> io::Result<Vec<PodUid>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries
        .flatten()
        .filter_map(|entry| PodUid::parse(entry.file_name().to_str()?))
        .collect())
}

fn make(folder: &Path) -> Result<(), CaptureError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(CaptureError::pin(folder, "make this folder"))
}

/// Removes a pin; where it is a link's, the program is detached when this returns. The kernel itself would detach it a
/// moment later.
fn remove_pin(pin: &Path) -> Result<(), CaptureError> {
    if let Ok(link) = Link::open(pin) {
        // A map, or a link whose cgroup is gone: there is nothing to detach.
        let _ = link.detach();
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CaptureError::pin(pin, "remove")(error)),
        _ => Ok(()),
    }
}

/// Removes a folder of bpffs with all in it.
fn remove_tree(folder: &Path) -> Result<(), CaptureError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CaptureError::pin(folder, "list")(error)),
    };
    // Listed first: what is removed meanwhile would make bpffs skip others.
    for entry in entries.flatten().collect::<Vec<_>>() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_tree(&entry.path())?,
            _ => remove_pin(&entry.path())?,
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CaptureError::pin(folder, "remove")(error))
        }
        _ => Ok(()),
    }
}
