//! Which directories have to be watched to see a file change, however it is changed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// As the kernel's own limit (path_resolution(7)).
const MAXIMUM_LINKS: usize = 40;

/// What a file's content hangs on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Directories that exist now. Never the file itself: a watch of a file ends when another is renamed over it.
    pub(super) directories: BTreeSet<PathBuf>,
    /// The names whose change matters: the file, every symbolic link on the way to it, and, where a directory on the way is
    /// missing, the first that is. Kubernetes swaps a mounted ConfigMap or Secret by renaming over the link `..data`.
    pub(super) names: BTreeSet<PathBuf>,
}

impl Watched {
    /// Adds the file at `path`, which must be absolute and need not exist.
    pub(super) fn add(&mut self, path: &Path) {
        let mut links = 0;
        let mut resolved = PathBuf::from("/");
        // What is still to be walked, the next component last.
        let mut rest: Vec<PathBuf> = reversed(path);
        while let Some(component) = rest.pop() {
            if component.as_os_str() == ".." {
                resolved.pop();
                continue;
            }
            let parent = resolved.clone();
            resolved.push(&component);
            let metadata = resolved.symlink_metadata();
            let is_link = metadata.as_ref().is_ok_and(|metadata| metadata.is_symlink());
            if is_link || metadata.is_err() || rest.is_empty() {
                self.directories.insert(parent.clone());
                self.names.insert(resolved.clone());
            }
            if metadata.is_err() {
                return;
            }
            if is_link && let Ok(target) = resolved.read_link() {
                links += 1;
                if links > MAXIMUM_LINKS {
                    return;
                }
                resolved = if target.is_absolute() {
                    PathBuf::from("/")
                } else {
                    parent
                };
                rest.extend(reversed(&target));
            }
        }
    }
}

fn reversed(path: &Path) -> Vec<PathBuf> {
    let walked = path
        .components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir));
    let mut components: Vec<PathBuf> = walked
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect();
    components.reverse();
    components
}
