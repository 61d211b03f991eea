//! Files of the state directory: made once, whole or not at all, with the mode they need.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes the state directory where there is none. World-readable: the captured command, which may run as another
/// user, reads certificates from it.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755)) // whatever the umask
}

/// Takes the directory's lock, which serialises those who make or remove files in it; released on drop.
///
/// Readable by its owner only, since whoever can open it can hold it.
pub(super) fn lock_directory(directory: &Path) -> io::Result<File> {
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(directory.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Writes a file that appears whole or not at all, also across a crash.
pub(super) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?; // 0600 until it is complete
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// What a file held and who can get at it.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: u32,
}

/// Reads a file of at most `limit` bytes without following a symbolic link; `None` where there is none.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Option<Content>> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not a regular file of at most {limit} bytes"),
        ));
    }
    // Room for all of it at once: a growing buffer would leave copies of a key behind.
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(Content {
        bytes,
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
    }))
}
