//! What one workload has done: for whoever asks about it, not for a scraper, so that it may name what metrics must not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::record::{ConnectionKind, ExchangeRecord, Outcome};

/// Hosts that are kept apart. Clients make names up.
const HOSTS: usize = 64;
/// Programs that rejected our leaf, by host, that are kept.
const REJECTIONS: usize = 16;

/// What one workload has done since the agent serves it. Bounded, whatever its clients do.
#[derive(Debug)]
pub struct Activity {
    connections: [AtomicU64; ConnectionKind::ALL.len()],
    exchanges: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<Problem>>,
    relayed: Mutex<BTreeMap<String, u64>>,
    uncovered: Mutex<BTreeMap<String, u64>>,
    rejections: Mutex<BTreeMap<Rejection, SystemTime>>,
    rejected: watch::Sender<()>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// When.
    pub time: SystemTime,
    /// Weir's code or the status, and what of it is known.
    pub what: String,
    /// The host that was called.
    pub host: String,
}

/// A program that does not trust our certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The program's name, as the kernel has it.
    pub command: String,
    /// The host whose leaf it rejected.
    pub host: String,
}

/// [`Activity`] at a moment.
#[derive(Debug, Clone, Default)]
pub struct Activities {
    /// Connections that were terminated, relayed, refused.
    pub terminated: u64,
    /// Passed through.
    pub relayed: u64,
    /// Reset or refused.
    pub refused: u64,
    /// Exchanges that have ended.
    pub exchanges: u64,
    /// Of these: answered with a status from 400 on, or not completed.
    pub failed: u64,
    /// The last of those.
    pub last_error: Option<Problem>,
    /// Hosts of relayed connections, with how many.
    pub relayed_hosts: BTreeMap<String, u64>,
    /// Of these: hosts that serve models, and that no backend answers for.
    pub uncovered_hosts: BTreeMap<String, u64>,
    /// Programs that reject our leaf, and since when.
    pub rejections: BTreeMap<Rejection, SystemTime>,
}

impl Activity {
    /// Of a workload that has done nothing yet. `rejected` is told whenever a program begins to reject our leaf, or ends to.
    pub fn new(rejected: watch::Sender<()>) -> Self {
        Self {
            connections: Default::default(),
            exchanges: AtomicU64::default(),
            failed: AtomicU64::default(),
            last_error: Mutex::default(),
            relayed: Mutex::default(),
            uncovered: Mutex::default(),
            rejections: Mutex::default(),
            rejected,
        }
    }

    /// What there is to know of it now.
    pub fn now(&self) -> Activities {
        let connections = |kind: ConnectionKind| self.connections[kind as usize].load(Relaxed);
        Activities {
            terminated: connections(ConnectionKind::Terminated),
            relayed: connections(ConnectionKind::Relayed),
            refused: connections(ConnectionKind::Refused),
            exchanges: self.exchanges.load(Relaxed),
            failed: self.failed.load(Relaxed),
            last_error: self.last_error.lock().clone(),
            relayed_hosts: self.relayed.lock().clone(),
            uncovered_hosts: self.uncovered.lock().clone(),
            rejections: self.rejections.lock().clone(),
        }
    }

    /// The programs that reject our leaf.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections.lock().keys().cloned().collect()
    }

    pub(super) fn connection(&self, kind: ConnectionKind) {
        self.connections[kind as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn relayed_to(&self, host: &str) {
        count(&self.relayed, host);
    }

    pub(super) fn uncovered(&self, host: &str) {
        count(&self.uncovered, host);
    }

    pub(super) fn settle(&self, record: &ExchangeRecord) {
        self.exchanges.fetch_add(1, Relaxed);
        let failed = record.status.is_some_and(|status| status.as_u16() >= 400);
        if !failed && record.outcome == Outcome::Completed {
            return;
        }
        self.failed.fetch_add(1, Relaxed);
        // A client that leaves is no error of anybody's.
        if record.outcome == Outcome::ClientGone && record.error_code.is_none() {
            return;
        }
        let status = record.status.map(|status| status.as_u16().to_string());
        let parts = [record.error_code.map(str::to_owned), status];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let what = format!("{} ({})", parts.join(", "), record.outcome.as_str());
        self.problem(what, &record.server_address);
    }

    /// A client rejected our leaf.
    pub fn rejected(&self, command: &str, host: &str) {
        self.problem(format!("\"{command}\" rejected Weir's certificate"), host);
        let rejection = Rejection {
            command: command.to_owned(),
            host: host.to_owned(),
        };
        let mut rejections = self.rejections.lock();
        if rejections.contains_key(&rejection) || rejections.len() >= REJECTIONS {
            return;
        }
        rejections.insert(rejection, SystemTime::now());
        drop(rejections);
        self.rejected.send_replace(());
    }

    /// A handshake with these has succeeded: their trust has been mended. `command` is asked for only if there is somebody to mend.
    pub fn accepted(&self, command: impl FnOnce() -> String, host: &str) {
        if self.rejections.lock().is_empty() {
            return;
        }
        let rejection = Rejection {
            command: command(),
            host: host.to_owned(),
        };
        if self.rejections.lock().remove(&rejection).is_some() {
            self.rejected.send_replace(());
        }
    }

    /// Something else went wrong.
    pub fn problem(&self, what: String, host: &str) {
        let problem = Problem {
            time: SystemTime::now(),
            what,
            host: host.to_owned(),
        };
        *self.last_error.lock() = Some(problem);
    }
}

fn count(hosts: &Mutex<BTreeMap<String, u64>>, host: &str) {
    let mut hosts = hosts.lock();
    let has_room = hosts.len() < HOSTS;
    match hosts.get_mut(host) {
        Some(connections) => *connections += 1,
        None if has_room => {
            hosts.insert(host.to_owned(), 1);
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::sync::watch;

    use super::{Activity, HOSTS, REJECTIONS};
    use crate::telemetry::record::{ExchangeRecord, Outcome};
    use crate::telemetry::tests::{denied, exchange};

    fn activity() -> Activity {
        Activity::new(watch::channel(()).0)
    }

    #[test]
    fn the_last_error_says_what_and_where() {
        let activity = activity();
        activity.settle(&exchange("gpt-4o"));
        assert_eq!(activity.now().last_error, None);
        activity.settle(&denied("gpt-4o"));
        let gone = ExchangeRecord {
            outcome: Outcome::ClientGone,
            ..exchange("gpt-4o")
        };
        activity.settle(&gone);
        let now = activity.now();
        assert_eq!((now.exchanges, now.failed), (3, 2));
        let error = now.last_error.expect("one was denied");
        assert_eq!(error.what, "weir_no_credential, 401 (denied)");
        assert_eq!(error.host, "api.openai.com");
        let refused = ExchangeRecord {
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            ..exchange("gpt-4o")
        };
        activity.settle(&refused);
        let error = activity.now().last_error.expect("the provider refused");
        assert_eq!(error.what, "429 (completed)");
    }

    #[test]
    fn clients_cannot_fill_it() {
        let activity = activity();
        for index in 0..10 * HOSTS {
            let host = format!("{index}.example");
            activity.relayed_to(&host);
            activity.uncovered(&host);
            activity.rejected("java", &host);
        }
        let now = activity.now();
        assert_eq!(
            (now.relayed_hosts.len(), now.uncovered_hosts.len()),
            (HOSTS, HOSTS)
        );
        assert_eq!(now.rejections.len(), REJECTIONS);
        activity.relayed_to("0.example");
        assert_eq!(activity.now().relayed_hosts["0.example"], 2);
    }

    #[test]
    fn each_rejection_is_told_once() {
        let (sender, mut told) = watch::channel(());
        let activity = Activity::new(sender);
        activity.rejected("java", "api.openai.com");
        assert!(told.has_changed().expect("the activity is there"));
        told.mark_unchanged();
        activity.rejected("java", "api.openai.com");
        assert!(!told.has_changed().expect("the activity is there"));
        assert_eq!(activity.rejections().len(), 1);
    }
}
