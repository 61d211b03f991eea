//! Counters and histograms of exchanges, for Prometheus.
//!
//! One [`Series`] holds all metrics of a label set, so that settling an exchange is one look-up by borrowed strings;
//! names and labels are put together only when somebody scrapes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use hashbrown::{Equivalent, HashMap};
use http::StatusCode;
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use weir_ai::{Provider, Usage, UsageReading};

use super::connections::Connections;
use super::models::{Models, OTHER};
use super::record::{ExchangeRecord, Outcome};

mod exposition;

/// Label sets with models of their own; beyond, models become `other`. Each takes some 2 KiB.
const SERIES: usize = 4096;

/// The values of the label `type`, and where they are found.
const TOKEN_TYPES: [(&str, Tokens); 7] = [
    ("input", |usage| usage.input),
    ("output", |usage| usage.output),
    ("cache_read", |usage| usage.cache_read),
    ("cache_creation", |usage| usage.cache_creation),
    ("reasoning", |usage| usage.reasoning),
    ("input_audio", |usage| usage.input_audio),
    ("output_audio", |usage| usage.output_audio),
];
type Tokens = fn(&Usage) -> u64;
/// Of which the first two are reported even where they are 0.
const ALWAYS_REPORTED: usize = 2;

/// OpenTelemetry's bounds of gen_ai.client.token.usage: 4^0 … 4^13.
const TOKEN_BUCKETS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// OpenTelemetry's bounds of gen_ai.client.operation.duration, seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// OpenTelemetry's bounds of gen_ai.server.time_to_first_token, seconds.
const FIRST_TOKEN_BUCKETS: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// All metrics of a process.
pub(super) struct Metrics {
    exchanges: Arc<Exchanges>,
    registry: Registry,
}

#[derive(Debug, Default)]
struct Exchanges {
    models: Models,
    series: RwLock<HashMap<Labels, Arc<Series>>>,
}

/// How an exchange ended, and the status that the client was given.
type Ending = (Outcome, Option<StatusCode>);

/// What tells one series from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LabelsRef<'a> {
    provider: Provider,
    operation: &'static str,
    request_model: &'a str,
    response_model: &'a str,
    namespace: &'a str,
    service_account: &'a str,
    backend: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
struct Labels {
    provider: Provider,
    operation: &'static str,
    request_model: Box<str>,
    response_model: Box<str>,
    namespace: Box<str>,
    service_account: Box<str>,
    backend: Box<str>,
}

impl Labels {
    fn borrowed(&self) -> LabelsRef<'_> {
        LabelsRef {
            provider: self.provider,
            operation: self.operation,
            request_model: &self.request_model,
            response_model: &self.response_model,
            namespace: &self.namespace,
            service_account: &self.service_account,
            backend: &self.backend,
        }
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state); // as Equivalent demands
    }
}

impl Equivalent<Labels> for LabelsRef<'_> {
    fn equivalent(&self, labels: &Labels) -> bool {
        *self == labels.borrowed()
    }
}

impl LabelsRef<'_> {
    fn to_owned(self) -> Labels {
        Labels {
            provider: self.provider,
            operation: self.operation,
            request_model: self.request_model.into(),
            response_model: self.response_model.into(),
            namespace: self.namespace.into(),
            service_account: self.service_account.into(),
            backend: self.backend.into(),
        }
    }
}

#[derive(Debug, Default)]
struct Series {
    tokens: [AtomicU64; TOKEN_TYPES.len()],
    /// Nano-USD: exact, where a float would lose the small ones beside a large sum.
    cost: AtomicU64,
    /// Whether an exchange had a price: an unpriced model reports no cost, which is not the same as 0.
    priced: AtomicBool,
    /// By outcome and status, of which a series sees a few.
    ended: Mutex<Vec<(Ending, u64)>>,
    // Made at the first observation: a histogram of nothing is neither kept nor reported.
    input_usage: OnceLock<Histogram>,
    output_usage: OnceLock<Histogram>,
    duration: OnceLock<Histogram>,
    first_token: OnceLock<Histogram>,
}

fn observe<const N: usize>(histogram: &OnceLock<Histogram>, buckets: [f64; N], value: f64) {
    histogram.get_or_init(|| Histogram::new(buckets)).observe(value);
}

impl Metrics {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        let exchanges = Arc::new(Exchanges::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(exposition::Collected {
            exchanges: Arc::clone(&exchanges),
            connections,
        }));
        Self { exchanges, registry }
    }

    pub(super) fn settle(&self, record: &ExchangeRecord) {
        self.exchanges.series_of(record).settle(record);
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a string takes all");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Exchanges {
    fn series_of(&self, record: &ExchangeRecord) -> Arc<Series> {
        let mut labels = LabelsRef {
            provider: record.provider,
            operation: record.operation.unwrap_or_default(),
            request_model: record.request_model.as_deref().unwrap_or_default(),
            response_model: record.response_model.as_deref().unwrap_or_default(),
            namespace: &record.workload.namespace,
            service_account: &record.workload.service_account,
            backend: &record.backend,
        };
        // Only admitted models have a series, so a hit needs no further look at them.
        if let Some(series) = self.series.read().get(&labels) {
            return Arc::clone(series);
        }
        let accepted =
            record.status.is_some_and(|status| status.is_success()) && record.outcome != Outcome::Denied;
        labels.request_model = self.models.label(record.request_model.as_deref(), accepted);
        labels.response_model = self.models.label(record.response_model.as_deref(), accepted);
        if let Some(series) = self.series.read().get(&labels) {
            return Arc::clone(series);
        }
        let mut all = self.series.write();
        if all.len() >= SERIES {
            // What remains can't be invented by a caller.
            for model in [&mut labels.request_model, &mut labels.response_model] {
                if !model.is_empty() {
                    *model = OTHER;
                }
            }
        }
        Arc::clone(all.entry(labels.to_owned()).or_default())
    }
}

impl Series {
    fn settle(&self, record: &ExchangeRecord) {
        let key = (record.outcome, record.status);
        let mut ended = self.ended.lock();
        match ended.iter_mut().find(|(ended, _)| *ended == key) {
            Some((_, count)) => *count += 1,
            None => ended.push((key, 1)),
        }
        drop(ended);

        if let UsageReading::Read(usage) = &record.usage {
            for (counter, (_, tokens)) in self.tokens.iter().zip(TOKEN_TYPES) {
                match tokens(usage) {
                    0 => {}
                    tokens => drop(counter.fetch_add(tokens, Relaxed)),
                }
            }
            observe(&self.input_usage, TOKEN_BUCKETS, usage.input as f64);
            observe(&self.output_usage, TOKEN_BUCKETS, usage.output as f64);
        }
        if let Some(cost) = record.cost {
            self.cost.fetch_add(cost.0, Relaxed);
            self.priced.store(true, Relaxed);
        }
        // What Weir refused was no operation of the provider.
        if record.operation.is_some() && record.outcome != Outcome::Denied {
            observe(&self.duration, DURATION_BUCKETS, record.duration.as_secs_f64());
        }
        // Of an answer in one piece the first byte says nothing about its first token.
        if record.stream
            && record.status.is_some_and(|status| status.is_success())
            && let Some(time) = record.time_to_first_chunk
        {
            observe(&self.first_token, FIRST_TOKEN_BUCKETS, time.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
