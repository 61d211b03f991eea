//! Weir's node agent: capture → downstream → exchange → upstream.
//!
//! `policy` and `telemetry` are read by those rooms and know none of them.

pub mod capture;
pub mod telemetry;
