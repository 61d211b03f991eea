//! The end of a release, before anything of it is deleted: every pod of every node is released.
//!
//! `helm uninstall` runs a Job before it deletes anything, [`job`]: it makes the ConfigMap `weir-retiring`, and waits. All replicas
//! follow the ConfigMap, [`order`]: while it is there no agent is told of a workload, so that each releases its pods, also one that connects later;
//! and no pod is changed by the webhook. Backends and keys stay with the agents, for connections that are open go on until they end. The
//! Lease's holder writes into the ConfigMap which nodes are not done yet, [`left`]. The last agent then ends with no pod captured, and removes
//! what it has pinned.

pub mod job;
pub mod left;
pub mod order;
