//! Looks again whenever pods come or go.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    io::Interest,
    sync::watch,
    task::{AbortHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::scan::{Found, Look, Pods, Scanner};
use crate::capture::{CgroupError, sys};

/// Another look after this long, whatever was told: kubelet may begin anew elsewhere, and inotify has limits.
const RESCAN: Duration = Duration::from_secs(5);

/// After something has happened pods are looked at this soon again, and then less and less often up to [`RESCAN`]: a
/// process that enters its cgroup is still on its way to its network namespace, and nobody tells when it is there.
const SOON: Duration = Duration::from_millis(5);

/// Tells of the node's pods for as long as it lives.
#[derive(Debug)]
pub struct PodWatch {
    pods: watch::Receiver<Pods>,
    task: AbortHandle,
}

impl PodWatch {
    /// Looks once, and then begins to watch. Pods are looked for below `cgroup_root`, or wherever cgroup2 is mounted, and
    /// their processes in `proc`, which must show the node's.
    ///
    /// Call it inside a tokio runtime with I/O and time.
    pub fn start(cgroup_root: Option<&Path>, proc: &Path) -> Result<Self, CgroupError> {
        let mut scanner = Scanner::new(cgroup_root, proc)?;
        let look = scanner.look();
        let (sender, pods) = watch::channel(look.pods.clone());
        let task = tokio::spawn(follow(scanner, look, sender)).abort_handle();
        Ok(Self { pods, task })
    }

    /// The pods, and what changes of them.
    pub fn subscribe(&self) -> watch::Receiver<Pods> {
        self.pods.clone()
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut scanner: Scanner, mut look: Look, sender: watch::Sender<Pods>) {
    let mut events = match Events::new() {
        Ok(events) => Some(events),
        Err(error) => {
            tracing::warn!(
                "pods are found up to {} s late: no inotify ({error}); raise fs.inotify.max_user_instances",
                RESCAN.as_secs()
            );
            None
        }
    };
    let mut pause = SOON;
    loop {
        if let Some(events) = &mut events {
            events.follow(&look.folders);
        }
        let next = Instant::now() + pause;
        let happened = async {
            match &mut events {
                Some(events) => events.happened().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = happened => pause = SOON,
            () = sleep_until(next) => pause = (pause * 2).min(RESCAN),
        }
        let looked = spawn_blocking(move || {
            let look = scanner.look();
            (scanner, look)
        });
        let Ok(looked) = looked.await else {
            return;
        };
        (scanner, look) = looked;
        sender.send_if_modified(|pods| {
            let differs = !same(pods, &look.pods);
            if differs {
                pods.clone_from(&look.pods);
            }
            differs
        });
        if sender.is_closed() {
            return;
        }
    }
}

fn same(one: &Pods, other: &Pods) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((uid, one), (other_uid, other))| uid == other_uid && one.is(other))
}

impl Found {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Empty, Self::Empty) | (Self::HostNetwork, Self::HostNetwork) => true,
            (Self::Sandbox(one), Self::Sandbox(other)) => one.is(other),
            _ => false,
        }
    }
}

/// inotify on the folders of pods.
struct Events {
    inotify: tokio::io::unix::AsyncFd<std::fs::File>,
    adding: Inotify,
}

impl Events {
    fn new() -> io::Result<Self> {
        let adding = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let reading = std::fs::File::from(adding.as_fd().try_clone_to_owned()?);
        Ok(Self {
            inotify: sys::watch(reading, Interest::READABLE)?,
            adding,
        })
    }

    /// Also follows these. Watches of folders that are gone have ended with them.
    fn follow(&mut self, folders: &[PathBuf]) {
        let in_folder = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        for folder in folders {
            // A folder that went meanwhile; or the limit on watches, and then the next look comes by the clock.
            let _ = self.adding.add_watch(folder, in_folder);
            // The kernel modifies it when the first process enters, or the last leaves.
            let _ = self
                .adding
                .add_watch(&folder.join("cgroup.events"), AddWatchFlags::IN_MODIFY);
        }
    }

    /// Waits until something has happened. What it was is for the next look to find.
    async fn happened(&mut self) {
        loop {
            let Ok(mut ready) = self.inotify.readable_mut().await else {
                return std::future::pending().await;
            };
            let mut events = [0; 4096];
            let read = ready.try_io(|file| io::Read::read(file.get_mut(), &mut events));
            if let Ok(Ok(_)) = read {
                return;
            }
        }
    }
}
