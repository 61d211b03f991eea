//! Clients that have rejected our leaf, and what becomes of their next connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use weir_api::OnUntrusted;

/// How long a rejection is remembered: a client whose trust has been mended is tried again.
const REMEMBERED: Duration = Duration::from_secs(300);

/// How many are remembered. Past it the oldest is forgotten, and would have to reject once more.
const MOST_REMEMBERED: usize = 1024;

/// Commands that reject our leaf for a host.
#[derive(Debug, Default)]
pub(super) struct Distrusted {
    rejections: Mutex<HashMap<(String, Arc<str>), Rejection>>,
}

#[derive(Debug)]
struct Rejection {
    seen: Instant,
    consequence: OnUntrusted,
}

impl Distrusted {
    /// What becomes of a connection by this command to this host; `None`: it is terminated.
    pub(super) fn verdict(&self, command: &str, host: &Arc<str>) -> Option<OnUntrusted> {
        let mut rejections = self.rejections.lock();
        // Nearly always there are none, and then nothing is allocated for a key.
        if rejections.is_empty() {
            return None;
        }
        rejections.retain(|_, rejection| rejection.seen.elapsed() < REMEMBERED);
        rejections
            .get(&(command.to_owned(), Arc::clone(host)))
            .map(|rejection| rejection.consequence)
    }

    /// Notes a rejection.
    pub(super) fn add(&self, command: &str, host: &Arc<str>, consequence: OnUntrusted) {
        let mut rejections = self.rejections.lock();
        if rejections.len() >= MOST_REMEMBERED {
            let oldest = rejections
                .iter()
                .min_by_key(|(_, rejection)| rejection.seen)
                .map(|(key, _)| key.clone());
            oldest.and_then(|key| rejections.remove(&key));
        }
        let rejection = Rejection {
            seen: Instant::now(),
            consequence,
        };
        rejections.insert((command.to_owned(), Arc::clone(host)), rejection);
    }
}
