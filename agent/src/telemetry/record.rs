//! What is known of an exchange once it has ended: the one value that the access log, the metrics and the table are made from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use weir_ai::{NanoUsd, Provider, UsageReading};
use weir_api::WorkloadIdentity;

/// Who is calling: known from the listener that the connection came in by, never from a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `k8s.pod.uid`; `None` for a command captured by `weir run`.
    pub uid: Option<String>,
    /// `k8s.namespace.name`.
    pub namespace: String,
    /// `k8s.pod.name`; `None` for a command captured by `weir run`.
    pub pod: Option<String>,
    /// `k8s.service_account.name`; for `weir run` the name of the user that the command runs as.
    pub service_account: String,
}

impl Workload {
    /// Who it is to policies. The controller knows a pod's labels, and has found what they mean; a command has none.
    pub fn identity(&self) -> WorkloadIdentity {
        WorkloadIdentity {
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            labels: BTreeMap::new(),
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole answer was delivered, whatever its status.
    Completed,
    /// Weir itself refused it, before anything went upstream.
    Denied,
    /// The client went away first; upstream was cancelled.
    ClientGone,
    /// Upstream could not be reached, or failed before it answered.
    UpstreamError,
    /// Upstream's answer broke off in the middle.
    Truncated,
}

impl Outcome {
    /// The value of `weir.outcome` and of the `outcome` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Denied => "denied",
            Self::ClientGone => "client_gone",
            Self::UpstreamError => "upstream_error",
            Self::Truncated => "truncated",
        }
    }
}

/// One settled exchange.
#[derive(Debug, Clone)]
pub struct ExchangeRecord {
    /// When the request's head had arrived.
    pub started: SystemTime,
    /// Who called.
    pub workload: Arc<Workload>,
    /// `namespace/name` of the backend.
    pub backend: Arc<str>,
    /// The provider behind it.
    pub provider: Provider,
    /// The host that the app named, without a port.
    pub server_address: Arc<str>,
    /// The request's method.
    pub method: Method,
    /// The request's path, without its query.
    pub path: String,
    /// The status that the client was given; `None` where it left before there was one.
    pub status: Option<StatusCode>,
    /// `gen_ai.operation.name`, where the path is known.
    pub operation: Option<&'static str>,
    /// The model that the request named.
    pub request_model: Option<String>,
    /// The model that the answer named.
    pub response_model: Option<String>,
    /// Tokens, as far as they could be read.
    pub usage: UsageReading,
    /// Cost; `None` where the model is unpriced or there is no usage.
    pub cost: Option<NanoUsd>,
    /// Whether the answer was a stream of events.
    pub stream: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Weir's own stable error code, where Weir answered or broke it off.
    pub error_code: Option<&'static str>,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
    /// From the request's head to the first byte of the answer's body.
    pub time_to_first_chunk: Option<Duration>,
}

/// What became of a captured connection: the `kind` label of `weir_connections_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// A backend's: TLS ended here, or plaintext HTTP served.
    Terminated,
    /// Passed through byte for byte.
    Relayed,
    /// Reset or refused: no record of its destination, or policy.
    Refused,
}

impl ConnectionKind {
    /// The value of the `kind` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Relayed => "relayed",
            Self::Refused => "refused",
        }
    }
}
