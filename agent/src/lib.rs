//! Weir's node agent: capture → downstream → exchange → upstream.
//!
//! `policy`, `trust`, `telemetry` and `network_namespace` are read by those rooms and know none of them; `inspection` answers for a running agent, and `cli` puts them together.

pub mod capture;
pub mod cli;
pub mod downstream;
pub mod exchange;
pub mod inspection;
pub mod lifecycle;
pub mod network_namespace;
pub mod policy;
pub mod telemetry;
pub mod trust;
pub mod upstream;
