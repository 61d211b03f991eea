//! Passes over everything, each when something has changed, that never take more than a share of a processor.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Of the time, at most a tenth is spent in passes.
const SHARE: u32 = 10;
/// Changes come in swarms: what comes within this is taken together.
const SWARM: Duration = Duration::from_millis(20);
/// No change waits for longer.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Says when the next pass may begin.
#[derive(Debug)]
pub struct Pace {
    next: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next: Instant::now() }
    }
}

impl Pace {
    /// Waits for its time, then runs the pass. The first one after a quiet time begins at once.
    pub async fn pass<T>(&mut self, pass: impl AsyncFnOnce() -> T) -> T {
        sleep_until(self.next).await;
        let began = Instant::now();
        let value = pass().await;
        self.next = Instant::now() + (began.elapsed() * SHARE).clamp(SWARM, LONGEST);
        value
    }
}
