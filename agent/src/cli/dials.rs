//! What the kernel counts, as telemetry reports it.

use std::sync::Arc;

use crate::capture::CaptureCounters;
use crate::telemetry::{DialCounter, DialCounts};

/// Reads the counters of a capture.
pub(super) fn counter(counters: Arc<CaptureCounters>) -> DialCounter {
    Arc::new(move || {
        let counts = counters
            .read()
            .inspect_err(|error| tracing::warn!("the kernel's counters can't be read: {error}"))
            .ok()?;
        Some(DialCounts {
            captured: counts.captured,
            passed: counts.passed,
            refused: counts.refused,
            datagrams_refused: counts.quic_refused,
        })
    })
}
