//! `AIBackend`: a provider, the hosts it answers for, and how to authenticate to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_ai::Provider;

use super::rules::{self, Rule, validations};

/// `spec` of an `AIBackend`: a provider, the hosts it answers for, and how to authenticate to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(
    feature = "kubernetes",
    derive(kube::CustomResource),
    kube(
        group = "weir.dev",
        version = "v1alpha1",
        kind = "AIBackend",
        shortname = "aib",
        category = "weir",
        namespaced,
        status = "super::status::AIBackendStatus",
        derive = "PartialEq",
        doc = "A provider of models, the hosts it answers for, and how to authenticate to it.",
        printcolumn = r#"{"name": "Provider", "type": "string", "jsonPath": ".status.provider", "description": "Whose API it is"}"#,
        printcolumn = r#"{"name": "Hosts", "type": "string", "jsonPath": ".status.hosts", "description": "What apps dial"}"#,
        printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status", "description": "Whether it is valid and answers for its hosts"}"#,
        printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status", "description": "Whether every node that needs it has it"}"#,
        printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AIBackendSpec {
    /// The provider: exactly one key.
    pub provider: ProviderSpec,
    /// The hosts that apps dial: DNS names in lower case. Default: the provider's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<rules::Host>", length(max = 32), extend("x-kubernetes-validations" = rules::hosts()))]
    pub hosts: Vec<String>,
    /// Whose key goes upstream: exactly one key. There is no default, so that nobody's key goes anywhere by omission.
    pub auth: AuthSpec,
    /// Who may use the backend. Default: workloads of its own namespace.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespacesSpec,
    /// Where to send instead of the address that the app dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// Which network namespace upstream is dialled from: the pod's, or the agent's. A key of Weir's without TLS goes out from the agent's alone: in the pod's own it could be read.
    #[serde(default)]
    pub dial: Dial,
    /// What becomes of the next connection of a client that rejected our certificate: it is relayed untouched, or refused.
    #[serde(default)]
    pub on_untrusted: OnUntrusted,
}

/// `spec.provider`: exactly one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("x-kubernetes-validations" = rules::provider()))]
#[allow(missing_docs)] // a provider each, by its name
pub struct ProviderSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deepseek: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groq: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mistral: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openrouter: Option<ProviderFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xai: Option<ProviderFields>,
}

impl ProviderSpec {
    /// The providers that are named. One, where the object is valid.
    pub fn named(&self) -> Vec<Provider> {
        let is_named = |provider: &Provider| match provider {
            Provider::OpenAi => self.openai.is_some(),
            Provider::Anthropic => self.anthropic.is_some(),
            Provider::DeepSeek => self.deepseek.is_some(),
            Provider::Groq => self.groq.is_some(),
            Provider::Mistral => self.mistral.is_some(),
            Provider::OpenRouter => self.openrouter.is_some(),
            Provider::XAi => self.xai.is_some(),
        };
        Provider::ALL.iter().copied().filter(is_named).collect()
    }
}

/// A provider's own fields. There are none yet: write `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderFields {}

/// `spec.auth`: exactly one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([Rule::new(
    "has(self.secretRef) != has(self.passthrough)",
    "exactly one key goes upstream: write `secretRef: {name: …}` for one of yours, or `passthrough: {}` for the caller's own",
)])))]
pub struct AuthSpec {
    /// Weir's key: from a Secret of the backend's namespace, at its key `Authorization` or `apiKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// The caller's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// `metadata.name` of the Secret.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::object_name()))]
    pub name: String,
}

/// `passthrough` has no fields: write `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Passthrough {}

/// `spec.allowedNamespaces`, as Gateway API's `allowedRoutes.namespaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedNamespacesSpec {
    /// `Same`: workloads of the backend's own namespace. `All`: all workloads.
    #[serde(default)]
    pub from: NamespacesFrom,
}

/// Who may use a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// Workloads of the backend's own namespace.
    #[default]
    Same,
    /// All workloads.
    All,
}

/// Where upstream is dialled from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dial {
    /// The workload's network namespace: its source address and network policies hold.
    #[default]
    Pod,
    /// The node's: connections are pooled for all workloads of the node.
    Node,
}

/// What becomes of the next connection of a client that rejected our certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUntrusted {
    /// It is relayed untouched.
    #[default]
    Relay,
    /// It is refused.
    Refuse,
}

/// `spec.endpoint`: where to send instead of the address that the app dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSpec {
    /// A DNS name or an IP address.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = validations([Rule::new(
        "!self.contains('/') && self.matches('^[][0-9a-z.:-]+$')",
        "must be a DNS name in lower case or an IP address, without scheme, port or path",
    )])))]
    pub host: String,
    /// TCP port. Default: 443, or 80 for Plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Put before the request's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = validations([Rule::new(
        "self.matches('^/[^?#[:space:]]*$')",
        "must be a path that begins with `/`: no query, no fragment, no spaces",
    )])))]
    pub path_prefix: Option<String>,
    /// How it is spoken to. Default: TLS, verified against the public roots for the endpoint's host.
    #[serde(default)]
    pub tls: TlsSpec,
}

/// `spec.endpoint.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = validations([Rule::new(
    "!has(self.mode) || self.mode != 'Plaintext' || (!has(self.serverName) && !has(self.caCertificateRefs))",
    "serverName and caCertificateRefs have no meaning with `mode: Plaintext`: leave them out, or write `mode: Verify`",
)])))]
pub struct TlsSpec {
    /// `Verify`: TLS, its certificate verified. `Plaintext`: no TLS.
    #[serde(default)]
    pub mode: TlsMode,
    /// The name that the certificate must have and that SNI says. Default: the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// ConfigMaps of the backend's namespace whose key `ca.crt` holds the authorities as PEM. Default: the public roots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// TLS whose certificate is verified.
    #[default]
    Verify,
    /// No TLS.
    Plaintext,
}

/// An object of the same namespace that holds certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaCertificateReference {
    /// What holds the authorities.
    pub kind: CaCertificateKind,
    /// `metadata.name` of it.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::object_name()))]
    pub name: String,
}

/// What may hold certificate authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaCertificateKind {
    /// At its key `ca.crt`.
    ConfigMap,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_its_field() {
        let schema = crate::schema::of::<ProviderSpec>();
        let mut fields: Vec<&str> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut providers: Vec<&str> = Provider::ALL.iter().map(|provider| provider.field()).collect();
        fields.sort_unstable();
        providers.sort_unstable();
        assert_eq!(fields, providers);
        for provider in Provider::ALL {
            let spec: ProviderSpec =
                serde_json::from_str(&format!("{{\"{}\": {{}}}}", provider.field())).unwrap();
            assert_eq!(spec.named(), [*provider]);
        }
    }
}
