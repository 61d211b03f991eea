//! Certificates: the interception root and what stands below it, the servers' own, and what pods and agents are given to trust.

pub mod authority;
pub mod bundles;
mod copies;
pub mod leaves;
pub mod owner;
pub mod root;
pub mod secrets;
pub mod serving;
pub mod told;
