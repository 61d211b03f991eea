//! The snapshot that the agent serves from, and where it comes from.

mod changes;
pub mod controller;
mod file;
mod paths;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use weir_api::Snapshot;

pub use file::{FileError, FileSource};

/// The snapshot of now. Cheap to clone and to load; whoever loads it once for an exchange serves the whole exchange from one configuration.
#[derive(Debug, Clone)]
pub struct SnapshotHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    loads: watch::Sender<Loads>,
}

/// How often a configuration came, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loads {
    /// Configurations that were taken, the first one included: the generation of the snapshot.
    pub taken: u64,
    /// Configurations that were refused whole.
    pub refused: u64,
}

impl SnapshotHandle {
    /// Serves from `snapshot` until something else is put in its place.
    pub fn new(snapshot: Snapshot) -> Self {
        let loads = watch::Sender::new(Loads { taken: 1, refused: 0 });
        Self {
            shared: Arc::new(Shared {
                snapshot: ArcSwap::from_pointee(snapshot),
                generation: AtomicU64::new(0),
                loads,
            }),
        }
    }

    /// The snapshot of now. The guard is for a short while: what outlives an await keeps a clone of the `Arc`s in it.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.shared.snapshot.load()
    }

    /// Which snapshot it is, or a newer one: what was worked out from a snapshot loaded after this was read holds until this changes.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Tells of each configuration that comes, whether it was taken or refused.
    pub fn subscribe(&self) -> watch::Receiver<Loads> {
        self.shared.loads.subscribe()
    }

    fn take(&self, snapshot: Snapshot) {
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.generation.fetch_add(1, Ordering::Release);
        self.shared.loads.send_modify(|loads| loads.taken += 1);
    }

    fn refuse(&self) {
        self.shared.loads.send_modify(|loads| loads.refused += 1);
    }
}
