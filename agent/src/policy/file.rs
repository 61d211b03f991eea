//! Snapshots from files: read once at the start, and again whenever one of them changes.

mod watching;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use weir_api::{Problems, Snapshot};
use zeroize::Zeroizing;

use self::watching::{Message, Watching};
use super::SnapshotHandle;

/// Far beyond any configuration by hand; keeps a slip such as `-f /dev/zero` from taking all memory.
const MAXIMUM_SIZE: u64 = 16 << 20;

/// Asks for an environment variable.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send>;

/// Why a configuration cannot be served from.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What is written there is wrong. One line for each problem.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// The files cannot be watched.
    #[error(
        "cannot watch for changes: {0}; if the limit of inotify is reached, raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"
    )]
    Watch(#[from] notify::Error),
    /// No thread can be started.
    #[error("cannot start the thread that watches for changes: {0}")]
    Thread(io::Error),
}

/// Feeds a [`SnapshotHandle`] from files for as long as it lives.
///
/// All files are one configuration: each change is taken whole or refused whole, in which case the last good one stays. It is read when a writer
/// closes a file, and when a file or a symbolic link on the way to it is renamed, made or removed: never in the middle of a write.
/// What is no regular file (a pipe, such as the shell's `<(…)`) is read once.
#[derive(Debug)]
pub struct FileSource {
    handle: SnapshotHandle,
    /// The environment variables that Secrets have been read from.
    variables: Arc<Mutex<BTreeSet<String>>>,
    messages: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl FileSource {
    /// Reads the files and begins to watch them. Secrets may name variables of this process's environment.
    ///
    /// # Errors
    /// Where there is no configuration to begin with.
    pub fn start(files: &[PathBuf]) -> Result<Self, FileError> {
        Self::with_environment(files, Box::new(|name| std::env::var(name).ok()))
    }

    fn with_environment(files: &[PathBuf], environment: Environment) -> Result<Self, FileError> {
        let variables = Arc::new(Mutex::new(BTreeSet::new()));
        let environment: Environment = {
            let variables = Arc::clone(&variables);
            Box::new(move |name| {
                variables.lock().insert(name.to_owned());
                environment(name)
            })
        };
        let (messages, received) = mpsc::channel();
        let mut watching = Watching::new(messages.clone())?;
        let mut files: Vec<Source> = files.iter().map(|path| Source::new(path)).collect();
        // Watched first, then read: a change in between is seen twice rather than never.
        watching.follow(
            files
                .iter()
                .filter(|file| file.changes)
                .map(|file| file.absolute.as_path()),
        )?;
        for file in &mut files {
            file.text = file.read()?;
        }
        let handle = SnapshotHandle::new(load(&files, &environment)?);
        let mut reloading = Reloading {
            files,
            environment,
            handle: handle.clone(),
            watching,
            was_unreadable: false,
        };
        let thread = std::thread::Builder::new()
            .name("weir-policy".to_owned())
            .spawn(move || reloading.run(&received))
            .map_err(FileError::Thread)?;
        Ok(Self {
            handle,
            variables,
            messages,
            thread: Some(thread),
        })
    }

    /// The environment variables that the files take keys from: what is captured need not have them.
    pub fn variables(&self) -> BTreeSet<String> {
        self.variables.lock().clone()
    }

    /// What the files feed.
    pub fn handle(&self) -> SnapshotHandle {
        self.handle.clone()
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        // Fails only where the thread has ended already.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file, and what was read from it last. The text may hold keys, so it is wiped.
struct Source {
    path: PathBuf,
    absolute: PathBuf,
    changes: bool,
    text: Zeroizing<String>,
}

impl Source {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            absolute: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            changes: path.metadata().map_or(true, |metadata| metadata.is_file()),
            text: Zeroizing::default(),
        }
    }

    fn read(&self) -> Result<Zeroizing<String>, FileError> {
        let unreadable = |error| FileError::Unreadable {
            path: self.path.clone(),
            error,
        };
        let file = File::open(&self.path).map_err(unreadable)?;
        let size = file
            .metadata()
            .map_or(0, |metadata| metadata.len().min(MAXIMUM_SIZE));
        // Sized beforehand: a buffer that grows leaves copies behind that nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(size as usize + 1));
        file.take(MAXIMUM_SIZE + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if text.len() as u64 > MAXIMUM_SIZE {
            return Err(unreadable(io::Error::other(format!(
                "is larger than {MAXIMUM_SIZE} bytes"
            ))));
        }
        Ok(text)
    }
}

fn load(files: &[Source], environment: &Environment) -> Result<Snapshot, Problems> {
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    let texts = names
        .iter()
        .zip(files)
        .map(|(name, file)| (name.as_str(), file.text.as_str()));
    weir_api::load(texts, environment)
}

/// What the thread holds.
struct Reloading {
    files: Vec<Source>,
    environment: Environment,
    handle: SnapshotHandle,
    watching: Watching,
    was_unreadable: bool,
}

impl Reloading {
    fn run(&mut self, messages: &mpsc::Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            // One change by hand is several events; those that are here already are answered by one reading.
            let mut relevant = false;
            for message in std::iter::once(first).chain(messages.try_iter()) {
                match message {
                    Message::Stop => return,
                    Message::Event(event) => {
                        relevant |= self.watching.is_relevant(&event, self.was_unreadable);
                    }
                }
            }
            if relevant {
                self.reload();
            }
        }
    }

    fn reload(&mut self) {
        let followed = self
            .files
            .iter()
            .filter(|file| file.changes)
            .map(|file| file.absolute.as_path());
        if let Err(error) = self.watching.follow(followed) {
            tracing::error!("{}", FileError::Watch(error));
        }
        match self.read() {
            Ok(false) => {}
            Ok(true) => match load(&self.files, &self.environment) {
                Ok(snapshot) => self.take(snapshot),
                Err(problems) => self.refuse(&problems),
            },
            Err(error) => {
                tracing::error!("{error}");
                tracing::error!("configuration refused, the last good one stays");
                self.handle.refuse();
            }
        }
    }

    /// Reads all files; whether any differs from what was read last.
    fn read(&mut self) -> Result<bool, FileError> {
        self.was_unreadable = true;
        let mut texts = Vec::with_capacity(self.files.len());
        for file in self.files.iter().filter(|file| file.changes) {
            texts.push(file.read()?);
        }
        self.was_unreadable = false;
        let mut differs = false;
        for (file, text) in self.files.iter_mut().filter(|file| file.changes).zip(texts) {
            differs |= *file.text != *text;
            file.text = text;
        }
        Ok(differs)
    }

    fn take(&self, snapshot: Snapshot) {
        let changes = super::changes::Changes::between(&self.handle.load(), &snapshot);
        self.handle.take(snapshot);
        tracing::info!("configuration taken: {changes}");
    }

    fn refuse(&self, problems: &Problems) {
        for problem in problems.iter() {
            tracing::error!("{problem}");
        }
        tracing::error!("configuration refused, the last good one stays");
        self.handle.refuse();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests;
