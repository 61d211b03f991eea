//! Beginning and end of an agent's life.

mod readiness;

pub use readiness::{Readiness, ReadinessToken};
