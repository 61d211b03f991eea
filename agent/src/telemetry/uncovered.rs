//! Connections to hosts that serve models, and that no backend answers for: calls that nobody counts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::observed::Caller;
use super::record::Workload;

/// Hosts kept by name for the table.
const HOSTS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Uncovered {
    /// By caller and entry of [`weir_ai::known_ai_host`], of which there are only so many.
    by_entry: Mutex<HashMap<(Caller, &'static str), u64>>,
    by_host: Mutex<BTreeMap<String, u64>>,
}

impl Uncovered {
    /// Counts a connection to `host`, which has this entry.
    pub(super) fn connection(&self, workload: &Workload, host: &str, entry: &'static str) {
        *self
            .by_entry
            .lock()
            .entry((Caller::of(workload), entry))
            .or_default() += 1;
        let mut by_host = self.by_host.lock();
        if by_host.len() < HOSTS || by_host.contains_key(host) {
            *by_host.entry(host.to_owned()).or_default() += 1;
        }
    }

    /// The hosts in order, with how many connections.
    pub(super) fn hosts(&self) -> Vec<(String, u64)> {
        let by_host = self.by_host.lock();
        by_host
            .iter()
            .map(|(host, count)| (host.clone(), *count))
            .collect()
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series: Vec<((Caller, &'static str), u64)> = self
            .by_entry
            .lock()
            .iter()
            .map(|(key, count)| (key.clone(), *count))
            .collect();
        let mut metric = encoder.encode_descriptor(
            "weir_uncovered_connections",
            "Connections passed through to hosts that serve models and that no AIBackend answers for",
            None,
            MetricType::Counter,
        )?;
        for ((caller, entry), count) in &series {
            metric
                .encode_family(&caller.labels(entry))?
                .encode_counter::<NoLabelSet, _, f64>(count, None)?;
        }
        Ok(())
    }
}
