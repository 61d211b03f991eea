//! What an intercepted program finds in its environment: whom to trust, and a key where an SDK insists on one.
//!
//! `weir run` gives it to its command, the webhook to containers.

use weir_ai::Provider;

/// What a key variable holds where the program has no key of its own. SDKs refuse to start without one; it never goes upstream.
pub const PLACEHOLDER_KEY: &str = "weir-placeholder-weir-puts-the-key-in";

/// A variable that names certificates, and how its readers take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustVariable {
    /// Its name.
    pub name: &'static str,
    /// Whose file the readers fall back to where the variable is unset. Setting it hides those from them.
    pub falls_back_to: Option<&'static str>,
    /// Whether the file adds to the reader's own roots, or replaces them.
    pub adds: bool,
}

/// All that are set.
pub const TRUST_VARIABLES: &[TrustVariable] = &[
    // OpenSSL and what stands on it, Go, Rust's native roots, Python's ssl, httpx and truststore, Ruby.
    replaces("SSL_CERT_FILE", None),
    // https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification
    replaces("REQUESTS_CA_BUNDLE", Some("CURL_CA_BUNDLE")),
    // https://curl.se/docs/sslcerts.html
    replaces("CURL_CA_BUNDLE", Some("SSL_CERT_FILE")),
    // The AWS CLI and botocore, which looks at the variable of requests next.
    replaces("AWS_CA_BUNDLE", Some("REQUESTS_CA_BUNDLE")),
    replaces("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", None),
    adds("NODE_EXTRA_CA_CERTS"),
    adds("DENO_CERT"),
];

const fn replaces(name: &'static str, falls_back_to: Option<&'static str>) -> TrustVariable {
    TrustVariable {
        name,
        falls_back_to,
        adds: false,
    }
}

const fn adds(name: &'static str) -> TrustVariable {
    TrustVariable {
        name,
        falls_back_to: None,
        adds: true,
    }
}

/// The key variables of `providers` that are not given, each once: those that hold [`PLACEHOLDER_KEY`].
pub fn placeholder_variables(
    providers: impl IntoIterator<Item = Provider>,
    is_given: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let mut names = Vec::new();
    for provider in providers {
        for &name in provider.key_variables() {
            if !is_given(name) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
