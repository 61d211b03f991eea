//! How long a provider may be silent in the middle of an answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A limit on silence. The time that the client takes to read does not count: the clock starts when there was nothing to read.
pub(super) struct IdleLimit {
    limit: Duration,
    clock: Pin<Box<Sleep>>,
    running: bool,
}

/// The provider was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("no more of it came within {0:?}, which an AIPolicy's timeouts.idle allows")]
pub(super) struct Idle(Duration);

impl IdleLimit {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            clock: Box::pin(tokio::time::sleep(limit)),
            running: false,
        }
    }

    /// Something came.
    pub(super) fn heard(&mut self) {
        self.running = false;
    }

    /// There is nothing to read now.
    pub(super) fn poll_exceeded(&mut self, context: &mut Context<'_>) -> Poll<Idle> {
        if !std::mem::replace(&mut self.running, true) {
            self.clock.as_mut().reset(Instant::now() + self.limit);
        }
        self.clock.as_mut().poll(context).map(|()| Idle(self.limit))
    }
}
