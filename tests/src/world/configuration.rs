//! Configuration files that tests begin with.

use super::{KEY, World};

/// OpenAI and Anthropic with keys from Secrets, both sent to the mock at `provider.example`, whose root is in a ConfigMap.
pub fn standard(world: &World) -> String {
    [
        authority(world),
        backend("openai", "Authorization", &format!("Bearer {KEY}")),
        backend("anthropic", "apiKey", KEY),
    ]
    .join("---\n")
}

/// The ConfigMap `mock-ca`.
pub fn authority(world: &World) -> String {
    let pem: String = world
        .authority()
        .pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: mock-ca}}\ndata:\n  ca.crt: |\n{pem}")
}

/// A backend of that name and provider, its Secret, and the endpoint at the mock.
pub fn backend(provider: &str, field: &str, key: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {provider}-secret}}
stringData: {{{field}: \"{key}\"}}
---
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {{name: {provider}}}
spec:
  provider: {{{provider}: {{}}}}
  auth: {{secretRef: {{name: {provider}-secret}}}}
  endpoint:
    host: provider.example
    port: 443
    tls: {{mode: Verify, caCertificateRefs: [{{kind: ConfigMap, name: mock-ca}}]}}
"
    )
}

/// A backend of that provider without an endpoint: requests go to where the client dialled.
pub fn without_endpoint(provider: &str) -> String {
    let whole = backend(provider, "apiKey", KEY);
    let (head, _) = whole.split_once("  endpoint:").expect("backends above have one");
    head.to_owned()
}
