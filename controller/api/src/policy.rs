//! Policies, ready to be held against exchanges.

pub(crate) mod duration;
mod effective;
mod glob;

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub use effective::{Denial, EffectivePolicy, Reason};
pub use glob::Glob;

use crate::types::{FailurePolicy, Operation};

/// A policy, ready to be held against exchanges.
///
/// It binds an exchange only if it stands in the backend's namespace or in the workload's: nobody can restrict what is neither theirs nor used by theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Models that may be asked for; empty: all.
    pub allowed_models: Vec<Glob>,
    /// Models that may not.
    pub denied_models: Vec<Glob>,
    /// Operations that may be asked for; empty: all.
    pub allowed_operations: Vec<Operation>,
    /// Operations that may not.
    pub denied_operations: Vec<Operation>,
    /// Headers of requests that are put in place of what the request has.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers of requests that do not go upstream.
    pub remove_headers: Vec<HeaderName>,
    /// How long to wait for upstream.
    pub timeouts: Timeouts,
    /// For the capture of the workloads of its own namespace that it targets. Not on the wire: agents get it with each workload.
    pub failure_policy: Option<FailurePolicy>,
    /// The workloads that it targets. Not on the wire: agents are told which policies target a workload.
    pub workloads: Vec<WorkloadSelector>,
}

impl Policy {
    /// Whether it restricts models.
    pub fn restricts_models(&self) -> bool {
        !self.allowed_models.is_empty() || !self.denied_models.is_empty()
    }

    /// Whether it targets the workload itself, rather than a backend that it uses.
    pub fn targets(&self, workload: &WorkloadIdentity) -> bool {
        self.workloads.iter().any(|selector| selector.matches(workload))
    }
}

/// How long to wait for upstream; `None`: as by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Option<Duration>,
    /// From the request's end to the answer's first byte.
    pub first_byte: Option<Duration>,
    /// Between two pieces of an answer.
    pub idle: Option<Duration>,
}

/// Who is calling, as far as policies care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// The pod's uid; `None` where there is no pod. An agent knows by it which policies the controller has found to target the pod.
    pub uid: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Its service account; under `weir run` the user's name.
    pub service_account: String,
    /// The pod's labels. Agents have none.
    pub labels: BTreeMap<String, String>,
}

/// Which workloads of a namespace are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadSelector {
    /// Their namespace.
    pub namespace: String,
    /// Their service account; `None`: any.
    pub service_account: Option<String>,
    /// Labels that all of them have.
    pub labels: BTreeMap<String, String>,
}

impl WorkloadSelector {
    fn matches(&self, workload: &WorkloadIdentity) -> bool {
        self.namespace == workload.namespace
            && self
                .service_account
                .as_ref()
                .is_none_or(|account| *account == workload.service_account)
            && self
                .labels
                .iter()
                .all(|(name, value)| workload.labels.get(name) == Some(value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests;
