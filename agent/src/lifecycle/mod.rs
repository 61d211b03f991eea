//! Beginning and end of an agent's life.

pub mod handover;
mod readiness;

pub use readiness::{Readiness, ReadinessToken};
