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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels {
    namespace: String,
    service_account: String,
    /// Empty where the client named none.
    host: String,
}

impl Labels {
    fn pairs(&self) -> [(&str, &str); 3] {
        [
            ("k8s_namespace_name", &self.namespace),
            ("k8s_service_account_name", &self.service_account),
            ("host", &self.host),
        ]
    }
}

/// Relayed connections of observed workloads.
#[derive(Debug, Default)]
pub(super) struct Observed(Mutex<HashMap<Labels, Arc<Series>>>);

impl Observed {
    /// Counts a connection; its bytes are to be added to what this gives.
    pub(super) fn connection(&self, workload: &Workload, host: Option<&str>) -> Arc<Traffic> {
        let labels = |host: &str| Labels {
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
            host: host.to_owned(),
        };
        let mut all = self.0.lock();
        let mut wanted = labels(host.unwrap_or_default());
        if !all.contains_key(&wanted) && all.len() >= SERIES && host.is_some() {
            wanted = labels(OTHER);
        }
        let series = all.entry(wanted).or_default();
        series.connections.fetch_add(1, Relaxed);
        Arc::clone(&series.traffic)
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // A copy of the handles: a slow scraper must not hold up a connection.
        let series: Vec<(Labels, Arc<Series>)> = self
            .0
            .lock()
            .iter()
            .map(|(labels, series)| (labels.clone(), Arc::clone(series)))
            .collect();
        let mut metric = encoder.encode_descriptor(
            "weir_observed_connections",
            "Connections passed through for workloads that are only observed, by the host that the client named",
            None,
            MetricType::Counter,
        )?;
        for (labels, series) in &series {
            metric
                .encode_family(&labels.pairs())?
                .encode_counter::<NoLabelSet, _, f64>(&series.connections.load(Relaxed), None)?;
        }
        let mut metric = encoder.encode_descriptor(
            "weir_observed_bytes",
            "Bytes passed through for workloads that are only observed",
            None,
            MetricType::Counter,
        )?;
        for (labels, series) in &series {
            for (direction, bytes) in [
                ("sent", &series.traffic.sent),
                ("received", &series.traffic.received),
            ] {
                let [namespace, service_account, host] = labels.pairs();
                metric
                    .encode_family(&[namespace, service_account, host, ("direction", direction)])?
                    .encode_counter::<NoLabelSet, _, f64>(&bytes.load(Relaxed), None)?;
            }
        }
        Ok(())
    }
}
