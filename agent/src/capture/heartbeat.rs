//! The agent's sign of life: the programs stop redirecting when it is late.

use std::{fmt, sync::Arc, time::Duration};

use aya::maps::{Array, MapData, MapError};
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use weir_ebpf_common::NO_HEARTBEAT;

use super::sys::monotonic_nanoseconds;

const PERIOD: Duration = Duration::from_millis(100);

/// Stores a beat where the programs look for it.
type Store = Box<dyn FnMut(u64) -> Result<(), MapError> + Send>;

/// Beats for as long as it lives. It is a task of the runtime that serves the connections, not a thread of its own: a
/// runtime that no longer gets to its tasks is what the programs must learn of.
pub(super) struct Heartbeat {
    /// Taken on withdrawal, by which the task ends. To abort the task instead is not enough: a beat that waits for this
    /// lock on another worker would still be stored.
    store: Arc<Mutex<Option<Store>>>,
}

impl Heartbeat {
    /// Beats once at once, then in the background; and tells of each beat that came later than `bound` after the one before. Needs a
    /// tokio runtime with time.
    pub(super) fn start(mut map: Array<MapData, u64>, bound: Duration) -> Result<Self, MapError> {
        Self::with(Box::new(move |beat| map.set(0, beat, 0)), bound)
    }

    fn with(mut store: Store, bound: Duration) -> Result<Self, MapError> {
        let mut last = monotonic_nanoseconds();
        store(last)?;
        let store = Arc::new(Mutex::new(Some(store)));
        tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                let mut ticks = interval(PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let now = monotonic_nanoseconds();
                    // Locked no longer than for this: a withdrawal waits for it.
                    let stored = match store.lock().as_mut() {
                        Some(store) => store(now),
                        None => return,
                    };
                    match stored {
                        Ok(()) => {
                            let silent = Duration::from_nanos(now.saturating_sub(last));
                            last = now;
                            if silent > bound {
                                tracing::warn!("{}", Late { silent, bound });
                            }
                        }
                        Err(error) => tracing::warn!(%error, "the heartbeat could not be stored"),
                    }
                }
            }
        });
        Ok(Self { store })
    }

    /// Stops beating without a word: another agent beats from here on.
    pub(super) fn leave(&self) {
        self.store.lock().take();
    }

    /// Withdraws the sign of life: from here on the failure policy decides, with no wait for the last beat to age. Once
    /// this has returned no beat follows; a second withdrawal does nothing.
    pub(super) fn withdraw(&self) {
        let mut store = self.store.lock();
        if let Some(mut store) = store.take()
            && let Err(error) = store(NO_HEARTBEAT)
        {
            tracing::warn!(%error, "the heartbeat could not be withdrawn");
        }
    }
}

/// A beat that came later than the programs wait for one.
struct Late {
    silent: Duration,
    bound: Duration,
}

impl fmt::Display for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "no sign of life for {:.1} s: this process was stopped, waited for a processor, or did not get to its tasks. After the first \
             {:.0} s new connections followed the failure policy",
            self.silent.as_secs_f64(),
            self.bound.as_secs_f64()
        )
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The withdrawal takes longer than a period, so that the task's next beat is under way and waits for it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_beat_follows_a_withdrawal() {
        let beats = Arc::new(Mutex::new(Vec::new()));
        let store = {
            let beats = Arc::clone(&beats);
            Box::new(move |beat| {
                if beat == NO_HEARTBEAT {
                    std::thread::sleep(3 * PERIOD);
                }
                beats.lock().push(beat);
                Ok(())
            })
        };
        let heartbeat = Heartbeat::with(store, 10 * PERIOD).expect("it is stored");
        let before = Instant::now();
        // On a thread of its own: both workers stay free for the task.
        tokio::task::spawn_blocking(move || {
            while beats.lock().len() < 3 {
                std::thread::sleep(PERIOD / 10);
                assert!(before.elapsed() < 100 * PERIOD, "it beats");
            }
            heartbeat.withdraw();
            std::thread::sleep(3 * PERIOD);
            assert_eq!(beats.lock().last(), Some(&NO_HEARTBEAT));
            drop(heartbeat);
            let withdrawals = beats.lock().iter().filter(|beat| **beat == NO_HEARTBEAT).count();
            assert_eq!(withdrawals, 1);
        })
        .await
        .expect("no panic");
    }
}
