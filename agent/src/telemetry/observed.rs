//! What is passed through for workloads that are only observed: hosts, connections, bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::models::OTHER;
use super::record::Workload;

/// Hosts with a series of their own, over all workloads: a client chooses its names. Beyond, they become `other`.
const SERIES: usize = 2048;
/// The same for one workload, so that none can take the others' share.
const SERIES_OF_WORKLOAD: usize = 128;

/// Bytes of relayed connections.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the app.
    pub sent: AtomicU64,
    /// To the app.
    pub received: AtomicU64,
}

#[derive(Debug, Default)]
struct Series {
    connections: AtomicU64,
    traffic: Arc<Traffic>,
}

/// Whose series it is: never a pod's, for there is no end of those.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    namespace: String,
    service_account: String,
}

impl Caller {
    pub(super) fn of(workload: &Workload) -> Self {
        Self {
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
        }
    }

    /// The labels of a series about `host`.
    pub(super) fn labels<'a>(&'a self, host: &'a str) -> [(&'a str, &'a str); 3] {
        [
            ("k8s_namespace_name", &self.namespace),
            ("k8s_service_account_name", &self.service_account),
            ("host", host),
        ]
    }
}

/// By the host that the client named; empty where it named none.
type Hosts = HashMap<String, Arc<Series>>;

/// Relayed connections of observed workloads.
#[derive(Debug, Default)]
pub(super) struct Observed(Mutex<HashMap<Caller, Hosts>>);

impl Observed {
    /// Counts a connection; its bytes are to be added to what this gives.
    pub(super) fn connection(&self, workload: &Workload, host: Option<&str>) -> Arc<Traffic> {
        let mut all = self.0.lock();
        let taken: usize = all.values().map(HashMap::len).sum();
        let hosts = all.entry(Caller::of(workload)).or_default();
        let host = match host {
            Some(host) if hosts.contains_key(host) => host,
            Some(_) if taken >= SERIES || hosts.len() >= SERIES_OF_WORKLOAD => OTHER,
            host => host.unwrap_or_default(),
        };
        let series = hosts.entry(host.to_owned()).or_default();
        series.connections.fetch_add(1, Relaxed);
        Arc::clone(&series.traffic)
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // A copy of the handles: a slow scraper must not hold up a connection.
        let series: Vec<(Caller, String, Arc<Series>)> = self
            .0
            .lock()
            .iter()
            .flat_map(|(caller, hosts)| hosts.iter().map(move |(host, series)| (caller, host, series)))
            .map(|(caller, host, series)| (caller.clone(), host.clone(), Arc::clone(series)))
            .collect();
        let mut metric = encoder.encode_descriptor(
            "weir_observed_connections",
            "Connections passed through for workloads that are only observed, by the host that the client named",
            None,
            MetricType::Counter,
        )?;
        for (caller, host, series) in &series {
            metric
                .encode_family(&caller.labels(host))?
                .encode_counter::<NoLabelSet, _, f64>(&series.connections.load(Relaxed), None)?;
        }
        let mut metric = encoder.encode_descriptor(
            "weir_observed_bytes",
            "Bytes passed through for workloads that are only observed",
            None,
            MetricType::Counter,
        )?;
        for (caller, host, series) in &series {
            for (direction, bytes) in [
                ("sent", &series.traffic.sent),
                ("received", &series.traffic.received),
            ] {
                let [namespace, service_account, host] = caller.labels(host);
                metric
                    .encode_family(&[namespace, service_account, host, ("direction", direction)])?
                    .encode_counter::<NoLabelSet, _, f64>(&bytes.load(Relaxed), None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{OTHER, Observed, SERIES, SERIES_OF_WORKLOAD};
    use crate::telemetry::record::Workload;

    fn workload(service_account: &str) -> Workload {
        Workload {
            namespace: "shop".to_owned(),
            pod: None,
            uid: None,
            service_account: service_account.to_owned(),
        }
    }

    #[test]
    fn a_workload_that_makes_hosts_up_leaves_room_for_others() {
        let observed = Observed::default();
        for index in 0..2 * SERIES {
            observed.connection(&workload("loud"), Some(&format!("{index}.example")));
        }
        observed.connection(&workload("quiet"), Some("pypi.org"));
        let all = observed.0.lock();
        let hosts = |name: &str| {
            let of = |caller: &&super::Caller| caller.service_account == name;
            &all[all.keys().find(of).expect("it was counted")]
        };
        assert_eq!(hosts("loud").len(), SERIES_OF_WORKLOAD + 1);
        assert!(hosts("loud").contains_key(OTHER));
        assert!(hosts("quiet").contains_key("pypi.org"));
    }

    #[test]
    fn workloads_share_a_bound() {
        let observed = Observed::default();
        for account in 0..SERIES / SERIES_OF_WORKLOAD + 4 {
            for index in 0..SERIES_OF_WORKLOAD {
                observed.connection(&workload(&account.to_string()), Some(&format!("{index}.example")));
            }
        }
        let series: usize = observed.0.lock().values().map(|hosts| hosts.len()).sum();
        assert_eq!(series, SERIES + 4, "one `other` for each workload beyond");
    }
}
