//! How it stands with the controller, for whoever asks.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

/// How it stands with the controller. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct ControllerLink(Arc<Mutex<LinkState>>);

/// [`ControllerLink`] at a moment.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// Since when there is a stream; `None` while there is none.
    pub connected: Option<SystemTime>,
    /// Why the last stream ended, or did not come about.
    pub error: Option<String>,
    /// When the last configuration was taken.
    pub configured: Option<SystemTime>,
}

impl ControllerLink {
    /// How it stands now.
    pub fn now(&self) -> LinkState {
        self.0.lock().clone()
    }

    pub(super) fn connected(&self) {
        self.0.lock().connected = Some(SystemTime::now());
    }

    pub(super) fn away(&self, error: &str) {
        let mut state = self.0.lock();
        state.connected = None;
        state.error = Some(error.to_owned());
    }

    pub(super) fn configured(&self) {
        self.0.lock().configured = Some(SystemTime::now());
    }
}
