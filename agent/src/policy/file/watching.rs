//! Which events of the file system mean that a configuration has to be read again.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::policy::paths::Watched;

/// What the thread that reads files waits for.
#[derive(Debug)]
pub(super) enum Message {
    Event(Event),
    Stop,
}

/// A watcher, and what it watches.
pub(super) struct Watching {
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
}

impl Watching {
    pub(super) fn new(messages: mpsc::Sender<Message>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            // Others work in these directories as well, and our own reading opens files.
            let idle =
                matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
            // A write that goes on: its end is an event of its own.
            let unfinished = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
            if event.need_rescan() || !(idle || unfinished) {
                // Fails only where nobody reads any more.
                let _ = messages.send(Message::Event(event));
            }
        })?;
        Ok(Self {
            watcher,
            directories: BTreeSet::new(),
            names: BTreeSet::new(),
        })
    }

    /// Watches whatever these files hang on now.
    pub(super) fn follow<'a>(&mut self, files: impl Iterator<Item = &'a Path> + Clone) -> notify::Result<()> {
        // A link that was changed before its directory was watched gave no event: look again until nothing is new.
        for _ in 0..8 {
            let mut now = Watched::default();
            files.clone().for_each(|file| now.add(file));
            let settled = now.directories == self.directories && now.names == self.names;
            // Those already watched as well: the directory may be another one by the same name.
            for directory in &now.directories {
                match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                    // It went away just now. What is left to watch is seen in the next round.
                    Err(error) if !directory.exists() => tracing::debug!("{}: {error}", directory.display()),
                    other => other?,
                }
            }
            for stale in self.directories.difference(&now.directories) {
                // Fails where it is gone, and its watch with it.
                let _ = self.watcher.unwatch(stale);
            }
            (self.directories, self.names) = (now.directories, now.names);
            if settled {
                break;
            }
        }
        Ok(())
    }

    /// Whether an event may mean new content. `unreadable`: the last reading failed, so a change of permissions may too.
    pub(super) fn is_relevant(&self, event: &Event, unreadable: bool) -> bool {
        if event.need_rescan() {
            return true;
        }
        event.paths.iter().any(|path| match event.kind {
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                self.names.contains(path) || self.directories.contains(path)
            }
            EventKind::Create(_) => self.names.contains(path) && is_complete(path),
            EventKind::Modify(ModifyKind::Metadata(_)) => unreadable && self.names.contains(path),
            _ => self.names.contains(path),
        })
    }
}

/// Whether what has just been made has its content. A new file has not, until its writer closes it; a link has.
fn is_complete(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| !metadata.is_file() || metadata.nlink() > 1)
}
