//! The controller: watches Weir's objects, tells each node's agent what its pods may use, and says in the objects' status what came of it.

pub mod cli;
pub mod client;
pub mod configuration;
pub mod discovery;
pub mod environment;
pub mod health;
pub mod lease;
pub mod names;
pub mod retire;
pub mod serve;
pub mod status;
pub mod trust;
pub mod watch;
pub mod webhook;
