//! Captured connections by what became of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::dials::Dials;
use super::observed::Observed;
use super::record::ConnectionKind;
use super::uncovered::Uncovered;

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
    dials: Dials,
    observed: Observed,
    uncovered: Uncovered,
}

impl Connections {
    pub(super) fn open(this: &Arc<Self>, kind: ConnectionKind) -> ConnectionGuard {
        this.total[kind as usize].fetch_add(1, Relaxed);
        this.active.fetch_add(1, Relaxed);
        ConnectionGuard(Arc::clone(this))
    }

    pub(super) fn dials(&self) -> &Dials {
        &self.dials
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

    pub(super) fn summary(&self) -> Summary {
        Summary {
            relayed: self.total(ConnectionKind::Relayed),
            refused: self.total(ConnectionKind::Refused),
            passed: self.dials.counts().unwrap_or_default().passed,
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
    /// Gone past Weir, which did not see them.
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
