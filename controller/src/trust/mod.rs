//! Certificates: the interception root and what stands below it, the servers' own, and what pods and agents are given to trust.

pub mod authority;
mod bundle;
mod copies;
pub mod leaves;
pub mod owner;
pub mod provision;
pub mod root;
pub mod secrets;
pub mod serving;
pub mod told;
mod variables;
