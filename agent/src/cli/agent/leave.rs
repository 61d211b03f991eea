//! What an agent removes when its node is to have none any more: all that Weir has put there.

use std::io;
use std::path::Path;

use super::{Arguments, Failure};
use crate::capture::NodeCapture;
use crate::lifecycle::handover::Door;

/// Releases all pods, and removes what is pinned and the agents' run folder. True if anything was pinned.
pub(super) fn nothing(arguments: &Arguments) -> Result<bool, Failure> {
    let was_pinned = NodeCapture::remove_all(&arguments.bpf_root)?;
    let run_root = &arguments.run_root;
    // A pod can't remove a folder that is mounted into it, and `--remove` may run in one that has no such mount: both reach the node's own
    // by the root of its first process.
    let below_root = run_root.strip_prefix("/").unwrap_or(run_root);
    let on_node = arguments.proc.join("1/root").join(below_root);
    for folder in [run_root, &on_node] {
        match remove(folder) {
            Ok(true) => break,
            Ok(false) => {}
            // All that matters to pods is done.
            Err(error) => tracing::warn!(
                "{}: could not be removed: {error}; remove {} from the node by hand",
                folder.display(),
                run_root.display()
            ),
        }
    }
    Ok(was_pinned)
}

/// Removes the agents' run folder. False if it is not to be found or removed there.
fn remove(run_root: &Path) -> io::Result<bool> {
    // The door of an agent that was killed.
    if let Some(door) = Door::path(run_root).parent() {
        match std::fs::remove_dir_all(door) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match std::fs::remove_dir(run_root) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            // `weir run` keeps its records there too, where somebody uses that on the node.
            io::ErrorKind::DirectoryNotEmpty => Ok(true),
            // The last two: it is mounted, in a root that is read-only or not.
            io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::ResourceBusy => {
                Ok(false)
            }
            _ => Err(error),
        },
    }
}
