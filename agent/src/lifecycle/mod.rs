//! Beginning and end of an agent's life.

pub(crate) mod agent_socket;
pub mod handover;
mod readiness;

pub use readiness::{Readiness, ReadinessToken};
