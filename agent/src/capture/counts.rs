//! What the kernel programs count.

use std::fmt;

use aya::maps::{MapData, MapError, PerCpuArray};
use parking_lot::Mutex;
use weir_ebpf_common::Counter;

use super::CaptureError;

/// What became of the connections that capture saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Redirected to the listener.
    pub captured: u64,
    /// Let through because the agent was away, under [`FailurePolicy::Open`](super::FailurePolicy::Open).
    pub passed: u64,
    /// Refused because the agent was away, under [`FailurePolicy::Closed`](super::FailurePolicy::Closed).
    pub refused: u64,
    /// Datagrams to UDP 443 refused.
    pub quic_refused: u64,
}

/// The programs' counters. They can be read for as long as it lives, also when capture has ended.
pub struct CaptureCounters(Mutex<PerCpuArray<MapData, u64>>);

impl CaptureCounters {
    pub(super) fn new(counters: PerCpuArray<MapData, u64>) -> Self {
        Self(Mutex::new(counters))
    }

    /// What has been counted so far. Some system calls.
    pub fn read(&self) -> Result<CaptureCounts, CaptureError> {
        let counters = self.0.lock();
        let total = |counter: Counter| -> Result<u64, MapError> {
            Ok(counters.get(&(counter as u32), 0)?.iter().sum())
        };
        Ok(CaptureCounts {
            captured: total(Counter::Captured)?,
            passed: total(Counter::Passed)?,
            refused: total(Counter::Refused)?,
            quic_refused: total(Counter::QuicRefused)?,
        })
    }
}

impl fmt::Debug for CaptureCounters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("CaptureCounters").finish()
    }
}
