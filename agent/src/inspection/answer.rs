//! Answers, as they go over the socket and as `--output json` shows them.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What becomes of a pod's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Those to a backend's hosts are terminated.
    Captured,
    /// All are relayed and counted; no TLS is opened.
    Observed,
    /// The same, for the pod was not given our root to trust.
    Untrusted,
    /// Weir leaves it alone.
    Bypassed,
    /// It is to be captured, and is not yet.
    Pending,
    /// It does not run on this node, as far as can be known.
    Elsewhere,
    /// The agent cannot say.
    Unknown,
}

impl State {
    /// As [`Explanation`] has it in JSON, but for a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Observed => "observed",
            Self::Untrusted => "untrusted",
            Self::Bypassed => "bypassed",
            Self::Pending => "not captured yet",
            Self::Elsewhere => "not on this node",
            Self::Unknown => "unknown",
        }
    }
}

/// What there is to say of a pod. Fields that do not apply are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The node whose agent answers.
    pub node: String,
    /// What becomes of its connections.
    pub state: State,
    /// Why.
    pub why: String,
    /// What to do where that is not what is wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mend: Option<String>,
    /// The pod's uid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<String>,
    /// The label that decides.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<Label>,
    /// Since when this agent serves it: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<String>,
    /// Its service account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_account: Option<String>,
    /// What becomes of new connections while the agent is away: `open` or `closed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure_policy: Option<String>,
    /// Networks whose connections are left alone.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub excluded: Vec<String>,
    /// The backends that its namespace may use.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub backends: Vec<BackendAnswer>,
    /// Where it is only observed: the hosts that backends would answer for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub covered_hosts: Vec<String>,
    /// So far, since this agent serves it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connections: Option<Connections>,
    /// So far.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchanges: Option<Exchanges>,
    /// The last thing that went wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<ProblemAnswer>,
    /// Programs in it that do not trust our certificate.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rejections: Vec<RejectionAnswer>,
    /// Hosts of relayed connections.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub relayed_hosts: Vec<HostCount>,
    /// Of these: hosts of AI services that no backend covers.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub uncovered_hosts: Vec<HostCount>,
}

/// `weir.dev/intercept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its value.
    pub value: String,
    /// Whose: `pod` or `namespace`.
    pub of: String,
}

/// A backend that a pod may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendAnswer {
    /// `namespace/name`.
    pub name: String,
    /// Whose API it is.
    pub provider: String,
    /// What apps dial.
    pub hosts: Vec<String>,
    /// Of these: those that there is no certificate for, so that their connections cannot be opened.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hosts_without_certificate: Vec<String>,
    /// Where requests go instead of the original destination: `host:port`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub endpoint: Option<String>,
    /// Whose key goes upstream.
    pub credential: Credential,
    /// The policies that apply, in the order in which they do: `namespace/name`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub policies: Vec<String>,
}

/// Whose key goes upstream; never which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The backend's.
    Resolved,
    /// The caller's own.
    Passthrough,
    /// None is sent for a pod that is only observed.
    NotSent,
    /// There should be one. Why there is none, and the mend.
    Unresolved(String),
}

/// Connections by what became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each says it")]
pub struct Connections {
    pub terminated: u64,
    pub relayed: u64,
    pub refused: u64,
}

/// Exchanges that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanges {
    /// All.
    pub total: u64,
    /// Those answered with a status from 400 on, or not completed.
    pub failed: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemAnswer {
    /// RFC 3339.
    pub time: String,
    /// What.
    pub what: String,
    /// The host that was called.
    pub host: String,
}

/// A program that does not trust our certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionAnswer {
    /// Its name, as the kernel has it.
    pub command: String,
    /// The host whose certificate it rejected.
    pub host: String,
    /// RFC 3339.
    pub since: String,
}

/// Connections to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCount {
    /// As the client named it.
    pub host: String,
    /// How many.
    pub connections: u64,
}

/// What an agent says of itself, for `weir doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAnswer {
    /// Its version.
    pub version: String,
    /// Its node.
    pub node: String,
    /// What it still waits for; empty: it is ready.
    pub waiting_for: Vec<String>,
    /// How it stands with the controller.
    pub controller: ControllerAnswer,
    /// `--bpf-root`.
    pub bpf_root: PathBuf,
    /// `--cgroup-root`, where it was given.
    pub cgroup_root: Option<PathBuf>,
    /// `--proc`.
    pub proc: PathBuf,
    /// The leaves that it holds.
    pub leaves: Vec<LeafAnswer>,
    /// The pods that it serves, or should.
    pub pods: Vec<PodState>,
}

/// How an agent stands with the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerAnswer {
    /// `https://HOST:PORT`.
    pub address: String,
    /// The file with its authorities.
    pub authorities: PathBuf,
    /// The file with our token.
    pub token: PathBuf,
    /// Since when there is a stream: RFC 3339.
    pub connected: Option<String>,
    /// Why the last one ended.
    pub error: Option<String>,
    /// When the last configuration came: RFC 3339.
    pub configured: Option<String>,
}

/// A leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafAnswer {
    /// Its host.
    pub host: String,
    /// Its end, in seconds since the epoch.
    pub not_after: u64,
}

/// A pod that is served, or should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// Its uid.
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
    /// Why it is not captured as it should be.
    pub problem: Option<String>,
}

/// RFC 3339, UTC, in seconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds.format(&Rfc3339).unwrap_or_default()
}
