//! Network namespaces other than our own.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A network namespace. It lives for as long as this does, so its identity is not another's meanwhile.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
    identity: NamespaceIdentity,
}

/// Tells a living network namespace from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceIdentity {
    /// Of the kernel's own file system that namespaces are files of.
    pub device: u64,
    /// Its file there.
    pub inode: u64,
}

impl NamespaceIdentity {
    /// Of a file that stands for a namespace. It may be another's as soon as nothing keeps that one alive.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for NamespaceIdentity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl NetworkNamespace {
    /// Opens the namespace of a process, by a mount of proc that shows it.
    pub fn of_process(proc: &Path, process: i32) -> io::Result<Self> {
        Self::open(&proc.join(process.to_string()).join("ns/net"))
    }

    /// The calling thread's own.
    pub fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Opens a file that stands for one, such as `/run/netns/NAME`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = NamespaceIdentity::from(&file.metadata()?);
        Ok(Self { file, identity })
    }

    /// Which one it is.
    pub fn identity(&self) -> NamespaceIdentity {
        self.identity
    }

    /// Moves the calling thread into it. Needs CAP_SYS_ADMIN.
    pub fn enter(&self) -> io::Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    /// Does something inside, on a thread of its own that ends with it: no other thread ever stands there.
    pub(crate) fn inside<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = thread::Builder::new()
                .name("weir-namespace".to_owned())
                .spawn_scoped(scope, || {
                    self.enter()?;
                    action()
                })?;
            match inside.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}
