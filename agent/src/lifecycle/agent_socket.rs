//! The agent's sockets on its node: in a folder that only root may enter, each in the place of the one that the agent before it had.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Below the folder of the node's agents.
const FOLDER: &str = "agent";

/// A socket's name. It goes with the value, unless it is another agent's by then.
#[derive(Debug)]
pub(crate) struct AgentSocket {
    path: PathBuf,
    /// Device and inode: another agent puts its own in its place.
    identity: (u64, u64),
}

impl AgentSocket {
    /// Where the socket of that name is, below the folder of the node's agents.
    pub(crate) fn path(run_root: &Path, name: &str) -> PathBuf {
        run_root.join(FOLDER).join(name)
    }

    /// Listens there, in the place of any other. Needs a tokio runtime with I/O.
    pub(crate) fn listen(run_root: &Path, name: &str) -> io::Result<(Self, UnixListener)> {
        let folder = run_root.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // It may be another's, or older.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        // Made beside it and moved: at no moment is there none.
        let new = folder.join(format!("{name}.{}", std::process::id()));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        let identity = identity(&new)?;
        let path = Self::path(run_root, name);
        fs::rename(&new, &path)?;
        Ok((Self { path, identity }, listener))
    }

    /// Whether no other agent has put its own there.
    pub(crate) fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
            // Empty now, unless another socket is in it.
            let _ = self.path.parent().map(fs::remove_dir);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
