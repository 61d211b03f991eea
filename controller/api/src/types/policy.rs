//! `AIPolicy`: what is allowed, what is changed on the way, and how long to wait.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{self, Rule, validations};
use crate::proto;

/// `spec` of an `AIPolicy`: what those whom it targets may ask for, what is changed on the way, and how long to wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(
    feature = "kubernetes",
    derive(kube::CustomResource),
    kube(
        group = "weir.dev",
        version = "v1alpha1",
        kind = "AIPolicy",
        plural = "aipolicies",
        shortname = "aip",
        category = "weir",
        namespaced,
        status = "super::status::AIPolicyStatus",
        derive = "PartialEq",
        doc = "What the users of a backend, or the workloads of a namespace, may ask for.",
        printcolumn = r#"{"name": "Targets", "type": "string", "jsonPath": ".spec.targetRefs[*].kind", "description": "What it is attached to"}"#,
        printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status", "description": "Whether it is valid"}"#,
        printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status", "description": "Whether every node that needs it has it"}"#,
        printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([
    Rule::new(
        "has(self.models) || has(self.operations) || has(self.headers) || has(self.timeouts) || has(self.failurePolicy)",
        "a policy says something: write models, operations, headers, timeouts or failurePolicy",
    ),
    Rule::new(
        "!has(self.failurePolicy) || self.targetRefs.exists(target, target.kind == 'Workload')",
        "failurePolicy is about the capture of workloads: target some of the policy's own namespace, such as `{kind: Workload}`",
    ),
])))]
pub struct AIPolicySpec {
    /// What the policy is attached to: it applies where one of them matches. A policy binds an exchange only if it stands in the namespace of the backend
    /// or in that of the workload: nobody can restrict what is neither theirs nor used by theirs.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetReference>,
    /// Which models may be asked for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<ModelsSpec>,
    /// What may be asked of them. Default: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<OperationsSpec>,
    /// What is changed in the headers of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeadersSpec>,
    /// How long to wait for upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// What becomes of the targeted workloads' connections while their node's agent is away. Default: what the installation says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
}

/// What a policy is attached to: a backend, or workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([
    Rule::new(
        "self.kind != 'AIBackend' || has(self.name)",
        "say which backend: `{kind: AIBackend, name: …}`",
    ),
    Rule::new(
        "self.kind != 'AIBackend' || (!has(self.serviceAccount) && !has(self.labels))",
        "serviceAccount and labels select workloads: leave them out, or write `kind: Workload`",
    ),
    Rule::new(
        "self.kind != 'Workload' || !has(self.name)",
        "workloads have no name: select them by serviceAccount or labels, or write `kind: AIBackend`",
    ),
])))]
pub struct TargetReference {
    /// `AIBackend`: whoever uses that backend. `Workload`: the pods that are selected, whatever backend they use.
    pub kind: TargetKind,
    /// `metadata.name` of the AIBackend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Where the backend or the workloads are. Default: the policy's own namespace.
    /// With a backend of another namespace, which must allow this one to use it, the policy binds only the workloads of its own namespace.
    /// With workloads of another namespace, it binds only what they do with the backends of its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Only workloads that run as this service account. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account: Option<String>,
    /// Only workloads whose pods have all these labels. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: Option<Labels>,
}

/// Labels by name.
pub type Labels = std::collections::BTreeMap<String, String>;

/// What kind of thing a policy is attached to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// Whoever uses a backend.
    #[default]
    AIBackend,
    /// Pods; under `weir run`, the command.
    Workload,
}

/// `spec.models`. A request is let through if its model matches no denied pattern and, where any are allowed, one of those.
/// Where models are restricted, requests in which Weir sees no model are denied too, but for those that list models.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([rule_of_lists()])))]
pub struct ModelsSpec {
    /// Patterns of names, in which `*` stands for any letters; capitals do not matter. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::ModelPattern>", length(max = 64))]
    pub allowed: Vec<String>,
    /// As `allowed`; what is denied is denied even if it is allowed too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::ModelPattern>", length(max = 64))]
    pub denied: Vec<String>,
}

/// `spec.operations`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([rule_of_lists()])))]
pub struct OperationsSpec {
    /// Default: all. With some, what is none of these operations is denied, but for listing models and counting tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub allowed: Vec<Operation>,
    /// What is denied is denied even if it is allowed too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub denied: Vec<Operation>,
}

fn rule_of_lists() -> Rule {
    Rule::new(
        "has(self.allowed) && size(self.allowed) > 0 || has(self.denied) && size(self.denied) > 0",
        "say what is allowed or denied, or leave the field out",
    )
}

/// What is asked of a model: OpenTelemetry's `gen_ai.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Chat completions, responses, messages.
    Chat,
    /// Legacy text completions and fill-in-the-middle.
    TextCompletion,
    /// Embeddings.
    Embeddings,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Chat, Self::TextCompletion, Self::Embeddings];

    /// OpenTelemetry's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// `spec.headers`: of requests, on their way upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([
    Rule::new(
        "has(self.set) && size(self.set) > 0 || has(self.remove) && size(self.remove) > 0",
        "say which headers to set or to remove, or leave the field out",
    ),
    Rule::new(
        "!has(self.set) || self.set.all(one, self.set.exists_one(other, other.name.lowerAscii() == one.name.lowerAscii()))",
        "a header is set twice",
    ),
    Rule::new(
        "!has(self.set) || !has(self.remove) || self.set.all(one, !self.remove.exists(other, other.lowerAscii() == one.name.lowerAscii()))",
        "a header is both set and removed",
    ),
])))]
pub struct HeadersSpec {
    /// Put in place of whatever the request has by that name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub set: Vec<SetHeader>,
    /// Names of headers that do not go upstream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub remove: Vec<HeaderName>,
}

/// A header and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetHeader {
    /// Its name; capitals do not matter.
    pub name: HeaderName,
    /// Its value: visible ASCII, and spaces inside. Not for secrets: whoever may read the policy reads it.
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = validations([Rule::new(
        "self.matches('^[!-~]([ -~]*[!-~])?$')",
        "must be visible ASCII, without spaces at its ends",
    )])))]
    pub value: String,
}

/// The name of an HTTP header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-kubernetes-validations" = rules::header_name(), "minLength" = 1, "maxLength" = 64))]
pub struct HeaderName(pub String);

/// `spec.timeouts`, as Gateway API writes durations: `10s`, `1m30s`, `500ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([Rule::new(
    "has(self.connect) || has(self.firstByte) || has(self.idle)",
    "write connect, firstByte or idle, or leave the field out",
)])))]
pub struct TimeoutsSpec {
    /// Until a connection to upstream stands, TLS included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<DurationText>,
    /// From the request's end to the answer's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<DurationText>,
    /// Between two pieces of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
}

/// A duration as Gateway API writes it (GEP-2257): `10s`, `1m30s`, `500ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-kubernetes-validations" = rules::duration(), "maxLength" = 32))]
pub struct DurationText(pub String);

/// What becomes of the targeted workloads' connections while their node's agent is away. Default: what the installation says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    /// They go where the app dialled, past Weir.
    #[default]
    Open,
    /// They are refused.
    Closed,
}

impl FailurePolicy {
    /// As command lines and log lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for FailurePolicy {
    type Err = String;

    /// The failure policy of that [`name`](Self::name); or what it must be.
    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Open, Self::Closed];
        let found = known.into_iter().find(|policy| policy.name() == name);
        found.ok_or_else(|| "must be `open` or `closed`".to_owned())
    }
}

impl From<FailurePolicy> for proto::FailurePolicy {
    fn from(policy: FailurePolicy) -> Self {
        match policy {
            FailurePolicy::Open => Self::Open,
            FailurePolicy::Closed => Self::Closed,
        }
    }
}
