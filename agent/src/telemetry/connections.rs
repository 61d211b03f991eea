//! Captured connections by what became of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::observed::Observed;
use super::record::ConnectionKind;
use super::uncovered::Uncovered;
use crate::capture::{CaptureCounters, CaptureCounts};

/// Hosts kept for the footnote; the rest is only counted as connections.
const RELAYED_HOSTS: usize = 64;

impl ConnectionKind {
    pub(super) const ALL: [Self; 3] = [Self::Terminated, Self::Relayed, Self::Refused];
}

/// Counts, shared by the metrics and the table.
#[derive(Debug, Default)]
pub(super) struct Connections {
    total: [AtomicU64; ConnectionKind::ALL.len()],
    active: AtomicI64,
    relayed_hosts: Mutex<BTreeSet<String>>,
    observed: Observed,
    uncovered: Uncovered,
    /// Of the kernel programs, while there are any.
    counters: Mutex<Option<Arc<CaptureCounters>>>,
}

impl Connections {
    pub(super) fn open(this: &Arc<Self>, kind: ConnectionKind) -> ConnectionGuard {
        this.total[kind as usize].fetch_add(1, Relaxed);
        this.active.fetch_add(1, Relaxed);
        ConnectionGuard(Arc::clone(this))
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.observed
    }

    pub(super) fn uncovered(&self) -> &Uncovered {
        &self.uncovered
    }

    pub(super) fn relayed_to(&self, host: &str) {
        let mut hosts = self.relayed_hosts.lock();
        if hosts.len() < RELAYED_HOSTS && !hosts.contains(host) {
            hosts.insert(host.to_owned());
        }
    }

    pub(super) fn total(&self, kind: ConnectionKind) -> u64 {
        self.total[kind as usize].load(Relaxed)
    }

    pub(super) fn active(&self) -> i64 {
        self.active.load(Relaxed)
    }

    pub(super) fn count_by(&self, counters: Option<Arc<CaptureCounters>>) {
        *self.counters.lock() = counters;
    }

    /// What the kernel programs have counted.
    pub(super) fn counts(&self) -> Option<CaptureCounts> {
        let counters = self.counters.lock().clone()?;
        let read = counters.read();
        read.inspect_err(|error| tracing::warn!("the kernel's counters cannot be read: {error}"))
            .ok()
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            relayed: self.total(ConnectionKind::Relayed),
            refused: self.total(ConnectionKind::Refused),
            passed: self.counts().map_or(0, |counts| counts.passed),
            relayed_hosts: self.relayed_hosts.lock().iter().cloned().collect(),
            uncovered: self.uncovered.hosts(),
        }
    }
}

/// What the table's footnotes say of connections.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) relayed: u64,
    pub(super) refused: u64,
    /// Not seen, for Weir was late or is not in their network namespace.
    pub(super) passed: u64,
    /// In order, some of them.
    pub(super) relayed_hosts: Vec<String>,
    /// Hosts that serve models and that no backend answers for, in order, with how many connections.
    pub(super) uncovered: Vec<(String, u64)>,
}

/// One captured connection; it counts as active until this is dropped.
#[derive(Debug)]
#[must_use = "the connection counts as closed as soon as this is dropped"]
pub struct ConnectionGuard(Arc<Connections>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}
