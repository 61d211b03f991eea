//! What is known of the cluster's objects, and what it comes to.

pub mod cluster;
pub mod debounce;
pub mod exempt;
pub mod follow;
pub mod placed;
pub mod pod;
pub mod references;
pub mod stores;
pub mod workloads;
