//! The files of an image while they are gathered.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::archive;
use crate::step::{self, Outcome};

/// A folder that becomes an image's file system.
pub(crate) struct Root {
    folder: PathBuf,
    /// What goes when this is dropped: the folder, and what lies between it and the archive.
    scratch: Option<PathBuf>,
}

impl Root {
    /// An empty one, in a folder beside `archive`, which is what it will become.
    pub(crate) fn beside(archive: &Path) -> Outcome<Self> {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let scratch = archive.with_file_name(format!(".{name}-{}", std::process::id()));
        let root = Self {
            folder: scratch.join("root"),
            scratch: Some(scratch),
        };
        make(&root.folder)?;
        permit(&root.folder, 0o755)?;
        Ok(root)
    }

    /// An empty one that stays.
    pub(crate) fn at(folder: &Path) -> Outcome<Self> {
        make(folder)?;
        let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return Err(format!("{} is not empty", folder.display()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            scratch: None,
        })
    }

    /// Where a file of the image is.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside.trim_start_matches('/'))
    }

    /// A folder, readable by all.
    pub(crate) fn folder(&self, inside: &str, mode: u32) -> Outcome {
        let path = self.path(inside);
        self.make_all(&path)?;
        permit(&path, mode)
    }

    /// A file with this content.
    pub(crate) fn file(&self, inside: &str, content: impl AsRef<[u8]>) -> Outcome {
        let path = self.parent(inside)?;
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        permit(&path, 0o644)
    }

    /// A symbolic link.
    pub(crate) fn link(&self, inside: &str, target: &str) -> Outcome {
        let path = self.parent(inside)?;
        symlink(target, &path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A file of this machine.
    pub(crate) fn copy(&self, from: &Path, inside: &str, mode: u32) -> Outcome {
        let path = self.parent(inside)?;
        fs::copy(from, &path)
            .map_err(|error| format!("{} to {}: {error}", from.display(), path.display()))?;
        permit(&path, mode)
    }

    /// A program without its symbols, and the libraries that it is linked with.
    pub(crate) fn program(&self, from: &Path, inside: &str) -> Outcome {
        self.copy(from, inside, 0o755)?;
        step::run(Command::new("strip").arg(self.path(inside)))?;
        self.libraries(from)
    }

    /// The libraries that a program or library of this machine is linked with, at the same places, and the loader.
    pub(crate) fn libraries(&self, of: &Path) -> Outcome {
        let Some(listing) = step::ask("ldd", &[&of.to_string_lossy()]) else {
            // It is linked with none: ldd says so by failing.
            return Ok(());
        };
        let paths: BTreeSet<&str> = listing
            .lines()
            .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
            .collect();
        if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
            return Err(format!("{}: {}", of.display(), missing.trim()));
        }
        for library in paths {
            if !self.path(library).exists() {
                self.copy(Path::new(library), library, 0o755)?;
            }
        }
        Ok(())
    }

    /// A folder with all below it, save what `wanted` does not want by its name, and the libraries that its libraries are linked with.
    pub(crate) fn tree(&self, from: &Path, inside: &str, wanted: &dyn Fn(&str) -> bool) -> Outcome {
        let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted(&name) {
                continue;
            }
            let (path, inside) = (entry.path(), format!("{inside}/{name}"));
            if path.is_dir() {
                self.tree(&path, &inside, wanted)?;
            } else {
                self.copy(&path, &inside, 0o755)?;
                if name.contains(".so") {
                    self.libraries(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Writes it as an image. `archive` is replaced whole or not at all.
    pub(crate) fn write(&self, configuration: &Value, reference: &str, archive: &Path) -> Outcome {
        let scratch = self
            .scratch
            .as_ref()
            .ok_or("a folder of files that stays is no archive")?;
        let unfinished = scratch.join("archive.tar");
        archive::write(
            &self.folder,
            configuration,
            reference,
            &scratch.join("layout"),
            &unfinished,
        )?;
        fs::rename(&unfinished, archive).map_err(|error| format!("{}: {error}", archive.display()))
    }

    fn parent(&self, inside: &str) -> Outcome<PathBuf> {
        let path = self.path(inside);
        path.parent().map_or(Ok(()), |folder| self.make_all(folder))?;
        Ok(path)
    }

    /// Makes a folder of the image and those above it, as far as they are missing.
    fn make_all(&self, folder: &Path) -> Outcome {
        if folder.is_dir() || !folder.starts_with(&self.folder) {
            return Ok(());
        }
        folder.parent().map_or(Ok(()), |above| self.make_all(above))?;
        make(folder)?;
        permit(folder, 0o755)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(scratch) = &self.scratch {
            let _ = fs::remove_dir_all(scratch);
        }
    }
}

fn make(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Whatever the umask is.
fn permit(path: &Path, mode: u32) -> Outcome {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}
