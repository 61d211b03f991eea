//! What an exchange was: access log, metrics, table.
//!
//! [`Telemetry`] is handed to whoever settles exchanges. It never looks at a body and holds no key.

mod access_log;
mod activity;
mod connections;
mod dials;
mod line;
mod metrics;
mod models;
mod observed;
pub mod record;
mod serve;
mod table;
mod uncovered;

use std::sync::Arc;

pub use access_log::{AccessLog, AccessLogError};
pub use activity::{Activities, Activity, Problem, Rejection};
pub use connections::ConnectionGuard;
pub use dials::{DialCounter, DialCounts};
pub use observed::Traffic;
pub use serve::{MetricsServer, ServeError};

use connections::Connections;
use metrics::Metrics;
use record::{ConnectionKind, ExchangeRecord, Workload};
use table::Table;

/// Where settled exchanges and connections are reported. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Telemetry {
    inner: Arc<Inner>,
    /// That of the one workload which this handle is for.
    activity: Option<Arc<Activity>>,
}

#[derive(Debug)]
struct Inner {
    access_log: Option<AccessLog>,
    connections: Arc<Connections>,
    metrics: Metrics,
    table: Table,
}

impl Telemetry {
    /// Metrics and table always, and the access log where there is one.
    pub fn new(access_log: Option<AccessLog>) -> Self {
        let connections = Arc::new(Connections::default());
        let inner = Inner {
            access_log,
            metrics: Metrics::new(Arc::clone(&connections)),
            connections,
            table: Table::default(),
        };
        Self {
            inner: Arc::new(inner),
            activity: None,
        }
    }

    /// A handle for one workload: what is reported by it is also noted there.
    pub fn of(&self, activity: Arc<Activity>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            activity: Some(activity),
        }
    }

    /// Reports an exchange that has ended. To be called once for each, however it ended.
    ///
    /// A microsecond or so, without a system call. It never waits: where the access log's reader is slower than the
    /// exchanges, lines are lost, and [`Telemetry::close`] says how many.
    pub fn settle(&self, record: &ExchangeRecord) {
        if let Some(activity) = &self.activity {
            activity.settle(record);
        }
        self.inner.metrics.settle(record);
        self.inner.table.settle(record);
        if let Some(access_log) = &self.inner.access_log {
            access_log.settle(record);
        }
    }

    /// Counts a captured connection, which is active until the guard is dropped.
    pub fn connection(&self, kind: ConnectionKind) -> ConnectionGuard {
        if let Some(activity) = &self.activity {
            activity.connection(kind);
        }
        Connections::open(&self.inner.connections, kind)
    }

    /// Notes the host that a relayed connection went to, where the client named one: the table's footnote lists
    /// some of them, so that a user who misses an exchange sees where it went.
    pub fn relayed_to(&self, host: &str) {
        if let Some(activity) = &self.activity {
            activity.relayed_to(host);
        }
        self.inner.connections.relayed_to(host);
    }

    /// Counts a connection that is passed through to a host that no backend answers for, if that is one which serves models.
    pub fn uncovered(&self, workload: &Workload, host: &str) {
        let Some(entry) = weir_ai::known_ai_host(host) else {
            return;
        };
        if let Some(activity) = &self.activity {
            activity.uncovered(host);
        }
        self.inner
            .connections
            .uncovered()
            .connection(workload, host, entry);
    }

    /// The workload of this handle, where it is for one.
    pub fn activity(&self) -> Option<&Activity> {
        self.activity.as_deref()
    }

    /// Counts a connection that is passed through for a workload that is only observed, and gives what its bytes are to be
    /// added to. `host`: what the client named.
    pub fn observed(&self, workload: &Workload, host: Option<&str>) -> Arc<Traffic> {
        self.inner.connections.observed().connection(workload, host)
    }

    /// Has what the kernel counts reported, too; with `None`, no longer: another agent does.
    pub fn report_dials(&self, counter: Option<DialCounter>) {
        self.inner.connections.dials().count_by(counter);
    }

    /// The metrics, in the exposition format of OpenMetrics 1.0.
    pub fn render_metrics(&self) -> String {
        self.inner.metrics.render()
    }

    /// The table that `weir run` prints at its end: several lines, each ended.
    pub fn table(&self) -> String {
        self.inner.table.render(&self.inner.connections.summary())
    }

    /// Writes out what the access log still holds, and ends it. To be called when the last exchange is settled;
    /// blocks until the file or pipe has taken all.
    pub fn close(&self) -> Result<(), AccessLogError> {
        self.inner.access_log.as_ref().map_or(Ok(()), AccessLog::close)
    }
}

#[cfg(test)]
pub(crate) mod tests;
