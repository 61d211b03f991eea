//! Handover: the next agent of a node takes the pods over from the one before it, with no connection refused or cut.
//!
//! They meet at a Unix socket, the [door](Door) of the agent that has the node's pods, in a folder that only root may enter.
//!
//! | successor | predecessor |
//! |---|---|
//! | `Hello`: its protocol, its pins | |
//! | | `Welcome`: the configuration that it holds, keys included. Or `Refusal`: why not |
//! | `Ready`: programs loaded, a configuration held | |
//! | | stops to enrol and release. A `Listener` a pod, with its descriptors; `End` |
//! | attaches its programs, beats, accepts; `Taken` | |
//! | | accepts no more, and leaves the heartbeat; `Done` |
//!
//! Until `Taken` the predecessor has the pods, and goes on if the successor is lost. From there on the successor has them. Both
//! keep the connection: a predecessor that has not been told to end stands by, and takes the pods back when it breaks.
//! Nobody writes anything to disk.

mod door;
mod message;
mod predecessor;
mod successor;
mod wire;

#[cfg(test)]
mod tests;

use std::io;

use weir_api::proto;

pub use self::door::{Door, Visitors};
pub use self::predecessor::{Answer, Predecessor, Standby, ask};
pub use self::successor::{Candidate, Successor};

use crate::capture::{PinsIdentity, PodListener};

/// To be raised when either side must say or heed something new. Fields may be added to messages without.
const PROTOCOL: u32 = 1;

/// Who we are to the other agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Weir's version, for the log.
    pub version: String,
    /// What the kernel programs' maps are pinned as: agents with different ones cannot share listeners.
    pub pins: PinsIdentity,
}

/// What one agent leaves to the next.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// What it held of the controller's configuration, keys included.
    pub configuration: Option<proto::Delta>,
    /// Where its pods' connections arrive.
    pub listeners: Vec<PodListener>,
}

/// Why a handover came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The connection, which also ends with the other agent.
    #[error("the other agent is gone: {0}")]
    Gone(#[source] io::Error),
    /// It hangs.
    #[error("the other agent did not answer within {0} s")]
    Silent(u64),
    /// It speaks, but not as agreed.
    #[error("the other agent said what makes no sense here: {0}")]
    Protocol(&'static str),
    /// It has given up.
    #[error("the other agent has given the handover up: {0}")]
    GivenUp(String),
}
