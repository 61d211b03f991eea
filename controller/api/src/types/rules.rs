//! What a schema's types cannot say, as rules that the API server evaluates (CEL, `x-kubernetes-validations`), each with a message for whoever
//! wrote the object. They catch early what is wrong with one object by itself; [`translate`](crate::translate()) checks the same and more, in words
//! of its own, for files and for objects that came past an older schema.
//!
//! A rule's cost is bounded by the lengths that the schema allows, so every list and text that a rule walks over has a maximum.

use schemars::JsonSchema;
use serde_json::{Value as Json, json};
use weir_ai::Provider;

/// A rule and what is said where it does not hold.
pub(super) struct Rule {
    rule: String,
    message: String,
}

impl Rule {
    pub(super) fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            message: message.into(),
        }
    }
}

/// For `#[schemars(extend("x-kubernetes-validations" = …))]`.
pub(super) fn validations<const N: usize>(rules: [Rule; N]) -> Json {
    let rules = rules.into_iter();
    rules
        .map(|rule| json!({"rule": rule.rule, "message": rule.message}))
        .collect()
}

/// RFC 1123, and a last label that is no number, which TLS and URLs would take for the end of an address.
const HOST: &str = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$";

/// The schema of a host: of a list's items, rather than of the list, so that the API server's message has the index and the value.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("minLength" = 1, "maxLength" = 253, "x-kubernetes-validations" = validations([Rule::new(
    format!("self.matches('{HOST}')"),
    "not the name of a host: write a DNS name in lower case, without scheme, port, path or wildcard",
)])))]
#[allow(dead_code, reason = "read by the derived schema alone")]
pub(super) struct Host(String);

/// Of the name of a Kubernetes object: what else it might have could make another request of the one that reads it.
pub(super) fn object_name() -> Json {
    validations([Rule::new(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "not the name of an object: lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit",
    )])
}

/// The schema of a pattern of models' names.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("minLength" = 1, "maxLength" = 128, "x-kubernetes-validations" = validations([Rule::new(
    "self.matches('^[!-~]+$')",
    "not a model's name or a pattern of one: visible ASCII without spaces, `*` for any letters",
)])))]
#[allow(dead_code, reason = "read by the derived schema alone")]
pub(super) struct ModelPattern(String);

/// Of `spec.hosts`.
pub(super) fn hosts() -> Json {
    validations([Rule::new(
        "self.all(item, self.exists_one(other, other == item))",
        "a host stands in the list twice",
    )])
}

/// Of `spec.provider`.
pub(super) fn provider() -> Json {
    let given: Vec<String> = Provider::ALL
        .iter()
        .map(|provider| format!("has(self.{})", provider.field()))
        .collect();
    validations([Rule::new(
        format!("[{}].exists_one(given, given)", given.join(", ")),
        "a backend has exactly one provider, such as `openai: {}`",
    )])
}

/// How Gateway API writes durations (GEP-2257).
pub(crate) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Of a duration.
pub(super) fn duration() -> Json {
    validations([Rule::new(
        format!("self.matches('{DURATION}') && duration(self) > duration('0s')"),
        "must be a duration longer than nothing, such as 10s, 1m30s or 500ms",
    )])
}

/// Of a header's name.
pub(super) fn header_name() -> Json {
    let kept: Vec<String> = KEPT_HEADERS.iter().map(|name| format!("'{name}'")).collect();
    validations([
        Rule::new(
            "self.matches('^[A-Za-z0-9!#$%&*+.^_`|~-]+$')",
            "must be the name of an HTTP header: letters, digits and `-`",
        ),
        Rule::new(
            format!("!(self.lowerAscii() in [{}])", kept.join(", ")),
            "this header is Weir's to write, or the connection's: it carries the host, a credential, or how the body is sent",
        ),
    ])
}

/// Headers that no policy may touch: the host, credentials, and what describes the connection or the body's framing (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
pub(crate) const KEPT_HEADERS: [&str; 19] = [
    "host",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "content-type",
    "expect",
];

#[cfg(test)]
mod tests {
    use weir_ai::Dialect;

    use super::KEPT_HEADERS;

    #[test]
    fn no_policy_touches_a_credential() {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let header = dialect.credential_header();
            for name in std::iter::once(&header.name).chain(header.others) {
                assert!(KEPT_HEADERS.contains(&name.as_str()), "{name}");
            }
        }
    }
}
