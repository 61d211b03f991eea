//! The agent's sign of life: the programs stop redirecting when it is late.

use std::{sync::Arc, time::Duration};

use aya::maps::{Array, MapData, MapError};
use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use weir_ebpf_common::NO_HEARTBEAT;

use super::sys::monotonic_nanoseconds;

const PERIOD: Duration = Duration::from_millis(100);

type Beat = Array<MapData, u64>;

/// Beats for as long as it lives. It is a task of the runtime that serves the connections, not a thread of its own: a
/// runtime that no longer gets to its tasks is what the programs must learn of.
pub(super) struct Heartbeat {
    beat: Arc<Mutex<Beat>>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Beats once at once, then in the background. Needs a tokio runtime with time.
    pub(super) fn start(mut beat: Beat) -> Result<Self, MapError> {
        beat.set(0, monotonic_nanoseconds(), 0)?;
        let beat = Arc::new(Mutex::new(beat));
        let task = tokio::spawn({
            let beat = Arc::clone(&beat);
            async move {
                let mut ticks = interval(PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    if let Err(error) = beat.lock().set(0, monotonic_nanoseconds(), 0) {
                        tracing::warn!(%error, "the heartbeat could not be stored");
                    }
                }
            }
        });
        Ok(Self { beat, task })
    }

    /// Withdraws the sign of life: from here on the failure policy decides, with no wait for the last beat to age.
    pub(super) fn withdraw(&self) {
        self.task.abort();
        if let Err(error) = self.beat.lock().set(0, NO_HEARTBEAT, 0) {
            tracing::warn!(%error, "the heartbeat could not be withdrawn");
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.withdraw();
    }
}
