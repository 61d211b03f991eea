//! What one side of a test waits for, and the other gives.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::world::wait::PATIENCE;

/// Counts what was given, so that none is lost if it comes before somebody waits. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<(Mutex<usize>, Condvar)>);

impl Signal {
    /// Lets one wait go on.
    pub fn give(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.1.notify_one();
    }

    /// Waits for one.
    ///
    /// # Panics
    /// If none comes within a minute.
    pub fn wait(&self) {
        let given = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut given, outcome) = self
            .0
            .1
            .wait_timeout_while(given, PATIENCE, |given| *given == 0)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!outcome.timed_out(), "the other side never came so far");
        *given -= 1;
    }
}
