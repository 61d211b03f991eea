//! How long to wait before the controller is called again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Full jitter: anywhere between nothing and a bound that doubles, so that agents which lost one controller at the same moment don't
/// come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The last attempt has come to something.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fraction())
    }

    fn bound(&self) -> Duration {
        FIRST
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(LONGEST)
    }
}

/// From 0 to 1, at random.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the bound itself is waited.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_begins_anew() {
        let mut backoff = Backoff::default();
        let mut bound = FIRST;
        for _ in 0..100 {
            assert_eq!(backoff.bound(), bound);
            assert!(backoff.next() <= bound);
            bound = (bound * 2).min(LONGEST);
        }
        backoff.reset();
        assert_eq!(backoff.bound(), FIRST);
    }

    /// All of 64 in the same half is as likely as a coin that falls on one side 64 times.
    #[test]
    fn waits_are_spread_over_the_whole_bound() {
        let mut backoff = Backoff::default();
        while backoff.bound() < LONGEST {
            backoff.next();
        }
        let waits: Vec<Duration> = (0..64).map(|_| backoff.next()).collect();
        let is_early = |wait: &Duration| *wait < LONGEST / 2;
        assert!(waits.iter().any(is_early), "{waits:?}");
        assert!(!waits.iter().all(is_early), "{waits:?}");
    }
}
