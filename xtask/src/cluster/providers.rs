//! The mock provider in the cluster: a pod behind public addresses, under the names of the providers that it stands for.
//!
//! Pods reach it as they would the real ones, over TLS that they do not trust: its root is nobody's until somebody is told of it.

use std::fmt::Write;

use xtask::cluster_paths::{ClusterPaths, PROVIDER_KEY};

use super::dns::{apply, rolled_out};
use super::kubectl;
use super::node::quietly;
use crate::step::Outcome;

const MANIFEST: &str = include_str!("../../../tests/cluster/providers.yaml");
/// What names resolve to: the addresses of `weir_tests::world`, which are nobody's (RFC 5737).
const NAMES: &[(&str, &[&str])] = &[
    ("203.0.113.10", &["provider.example"]),
    (
        "203.0.113.20",
        &[
            "api.openai.com",
            "api.anthropic.com",
            "api.deepseek.com",
            "api.groq.com",
            "api.mistral.ai",
            "openrouter.ai",
            "api.x.ai",
        ],
    ),
    ("203.0.113.30", &["plain.example", "other.example"]),
];

/// The names as lines of a hosts file.
pub(crate) fn hosts() -> String {
    NAMES.iter().fold(String::new(), |mut text, (address, names)| {
        let _ = writeln!(text, "        {address} {}", names.join(" "));
        text
    })
}

/// The names for the mock's certificate, as OpenSSL's subjectAltName has them.
pub(crate) fn alternative_names() -> String {
    let names = NAMES
        .iter()
        .flat_map(|(address, names)| {
            let names = names.iter().map(|name| format!("DNS:{name}"));
            names.chain([format!("IP:{address}")])
        })
        .collect::<Vec<_>>();
    names.join(",")
}

/// Starts it, and waits until it answers. Its root is in the ConfigMap `provider-ca`, under `ca.crt`.
pub(crate) fn start(paths: &ClusterPaths) -> Outcome {
    let addresses: Vec<&str> = NAMES.iter().map(|(address, _)| *address).collect();
    quietly(kubectl(paths, &["create", "namespace", "providers"])?)?;
    let file = |name: &str| paths.pki().join(name).display().to_string();
    let certificate = [
        format!("--cert={}", file("provider.crt")),
        format!("--key={}", file("provider.key")),
    ];
    let mut secret = kubectl(
        paths,
        &[
            "--namespace=providers",
            "create",
            "secret",
            "tls",
            "mock-provider",
        ],
    )?;
    secret.args(certificate);
    quietly(secret)?;
    let mut authority = kubectl(
        paths,
        &["--namespace=providers", "create", "configmap", "provider-ca"],
    )?;
    authority.arg(format!("--from-file=ca.crt={}", file("provider-ca.crt")));
    quietly(authority)?;
    apply(
        paths,
        &MANIFEST
            .replace("@KEY@", PROVIDER_KEY)
            .replace("@ADDRESSES@", &addresses.join(", ")),
    )?;
    rolled_out(paths, "providers", "deployment/mock-provider")
}
