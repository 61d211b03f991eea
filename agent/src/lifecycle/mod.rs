//! Beginning and end of an agent's life.

pub(crate) mod agent_socket;
pub mod handover;
mod open_files;
mod readiness;

pub(crate) use open_files::OpenFiles;
pub use readiness::{Readiness, ReadinessToken};
