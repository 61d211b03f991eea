//! Readiness as a value: each part that has to be ready holds a token, and dropping the token is being ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// What is still waited for. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<&'static str>>>);

/// Held by a part that is not ready yet.
#[derive(Debug)]
#[must_use = "the part counts as ready as soon as this is dropped"]
pub struct ReadinessToken {
    readiness: Readiness,
    part: &'static str,
}

impl Readiness {
    /// A token for a part, named as "waiting for …" would name it. A name is for one part at a time.
    pub fn token(&self, part: &'static str) -> ReadinessToken {
        self.0.lock().insert(part);
        ReadinessToken {
            readiness: self.clone(),
            part,
        }
    }

    /// The parts that are not ready, in order.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.0.lock().iter().copied().collect()
    }
}

impl Drop for ReadinessToken {
    fn drop(&mut self) {
        let mut waiting = self.readiness.0.lock();
        waiting.remove(self.part);
        if waiting.is_empty() {
            tracing::info!("ready");
        } else {
            let others: Vec<&str> = waiting.iter().copied().collect();
            tracing::info!("{} ready; waiting for {}", self.part, others.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn ready_is_when_the_last_token_is_dropped() {
        let readiness = Readiness::default();
        let (programs, snapshot) = (readiness.token("programs"), readiness.token("snapshot"));
        assert_eq!(readiness.clone().waiting_for(), ["programs", "snapshot"]);
        drop(programs);
        assert_eq!(readiness.waiting_for(), ["snapshot"]);
        drop(snapshot);
        assert!(readiness.waiting_for().is_empty());
    }
}
