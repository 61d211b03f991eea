//! What a running agent says of itself and its pods to whoever asks on its node: `weir explain` and `weir doctor`.
//!
//! They are processes of their own (`kubectl exec`), and ask by a Unix socket that only root may use. No answer holds a key.

mod agent;
mod answer;
mod explain;
mod reason;
mod socket;
mod text;

#[cfg(test)]
mod tests;

pub use agent::{Inspector, Places, Served, ServedPod};
pub(crate) use answer::rfc3339;
pub use answer::{
    AgentAnswer, BackendAnswer, Connections, ControllerAnswer, Credential, Exchanges, Explanation, HostCount,
    Label, LeafAnswer, PodState, ProblemAnswer, RejectionAnswer, State,
};
pub use socket::{AskError, InspectionServer, Question, ask, socket_path};
