//! What became of connections before anybody accepted them, as the kernel has counted.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Counts of all agents that the node has had since it started; of `weir run`, of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialCounts {
    /// Redirected to Weir.
    pub captured: u64,
    /// Gone past Weir, which was away or hung.
    pub passed: u64,
    /// Refused, for Weir was away or hung.
    pub refused: u64,
    /// Datagrams to UDP 443, refused.
    pub datagrams_refused: u64,
}

/// Reads them; `None` where they can't be read.
pub type DialCounter = Arc<dyn Fn() -> Option<DialCounts> + Send + Sync>;

/// Where they are read from, while there is something to read.
#[derive(Default)]
pub(super) struct Dials(Mutex<Option<DialCounter>>);

impl Dials {
    pub(super) fn count_by(&self, counter: Option<DialCounter>) {
        *self.0.lock() = counter;
    }

    pub(super) fn counts(&self) -> Option<DialCounts> {
        let counter = self.0.lock().clone()?;
        counter()
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(counts) = self.counts() else {
            return Ok(());
        };
        let mut metric = encoder.encode_descriptor(
            "weir_capture_connections",
            "What apps dialled, by what the kernel did with it; passed and refused: the agent was away or hung",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in [
            ("captured", counts.captured),
            ("passed", counts.passed),
            ("refused", counts.refused),
        ] {
            metric
                .encode_family(&[("outcome", outcome)])?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        encoder
            .encode_descriptor(
                "weir_capture_datagrams_refused",
                "Datagrams to UDP 443 that were refused: so that clients fall back to TCP, or because the agent was away",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, f64>(&counts.datagrams_refused, None)
    }
}

impl fmt::Debug for Dials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Dials").field(&self.counts()).finish()
    }
}
