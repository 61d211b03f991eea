//! The objects as they are written: the single truth of which fields there are, of their types and of their defaults.
//!
//! A file is checked against the schema that is derived from these types, so a field that is added here is known everywhere at once.
//! No `deny_unknown_fields`: strictness belongs to whoever knows lines (a file) or has the schema (the API server).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_ai::Provider;

/// `spec` of an `AIBackend`: a provider, the hosts it answers for, and how to authenticate to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIBackendSpec {
    /// The provider: exactly one key.
    pub provider: ProviderSpec,
    /// The hosts that apps dial: DNS names in lower case. Default: the provider's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whose key goes upstream: exactly one key. There is no default, so that nobody's key goes anywhere by omission.
    pub auth: AuthSpec,
    /// Who may use the backend. Default: workloads of its own namespace.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespacesSpec,
    /// Where to send instead of the address that the app dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointSpec>,
    /// Whence upstream is dialled. Default: Pod.
    #[serde(default)]
    pub dial: Dial,
    /// What becomes of the next connection of a client that rejected our certificate. Default: Relay.
    #[serde(default)]
    pub on_untrusted: OnUntrusted,
}

/// `spec.provider`: exactly one key, out of [`Provider::ALL`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
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
    pub name: String,
}

/// `passthrough` has no fields: write `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Passthrough {}

/// `spec.allowedNamespaces`, as Gateway API's `allowedRoutes.namespaces`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedNamespacesSpec {
    /// Default: Same.
    #[serde(default)]
    pub from: AllowedNamespaces,
}

/// Who may use a backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AllowedNamespaces {
    /// Workloads of the backend's own namespace.
    #[default]
    Same,
    /// All workloads.
    All,
}

/// Whence upstream is dialled.
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
    pub host: String,
    /// TCP port. Default: 443, or 80 for Plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Put before the request's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// How it is spoken to. Default: TLS, verified against the public roots for the endpoint's host.
    #[serde(default)]
    pub tls: TlsSpec,
}

/// `spec.endpoint.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Default: Verify.
    #[serde(default)]
    pub mode: TlsMode,
    /// The name that the certificate must have and that SNI says. Default: the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// ConfigMaps of the backend's namespace whose key `ca.crt` holds the authorities as PEM. Default: the public roots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    /// `ConfigMap`.
    pub kind: CaCertificateKind,
    /// `metadata.name` of it.
    pub name: String,
}

/// What may hold certificate authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaCertificateKind {
    /// At its key `ca.crt`.
    ConfigMap,
}

/// What every object has: as far as a file needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metadata {
    /// The object's name: a DNS name in lower case.
    pub name: String,
    /// Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An `AIBackend` as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AIBackend {
    /// `weir.dev/v1alpha1`.
    pub api_version: String,
    /// `AIBackend`.
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: AIBackendSpec,
}

/// A Kubernetes `ConfigMap`, as far as a file needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    /// `v1`.
    pub api_version: String,
    /// `ConfigMap`.
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// Texts by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

/// The shape of a Kubernetes `Secret`, as far as a file needs it. Only its schema is used: no value is ever read into it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by the derived schema alone")]
pub(crate) struct SecretShape {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[schemars(default)]
    data: BTreeMap<String, String>,
    #[schemars(default)]
    string_data: BTreeMap<String, String>,
    r#type: Option<String>,
    immutable: Option<bool>,
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
