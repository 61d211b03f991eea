//! What a schema's types cannot say, as rules that the API server evaluates (CEL, `x-kubernetes-validations`), each with a message for whoever
//! wrote the object. They catch early what is wrong with one object by itself; [`translate`](crate::translate()) checks the same and more, in words
//! of its own, for files and for objects that came past an older schema.
//!
//! A rule's cost is bounded by the lengths that the schema allows, so every list and text that a rule walks over has a maximum.

use serde_json::{Value as Json, json};
use weir_ai::Provider;

/// A rule and what is said where it does not hold.
pub(super) struct Rule {
    rule: String,
    message: String,
    /// CEL for a message that names the offender; `message` where it fails.
    expression: Option<String>,
}

impl Rule {
    pub(super) fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            message: message.into(),
            expression: None,
        }
    }

    /// Of a list's items, each `valid` (CEL over `item`): the message begins with those that are not.
    pub(super) fn each(valid: &str, message: &str) -> Self {
        let quoted = message.replace('\'', "\\'");
        Self {
            rule: format!("self.all(item, {valid})"),
            message: message.to_owned(),
            expression: Some(format!("self.filter(item, !({valid})).join(', ') + ': {quoted}'")),
        }
    }
}

/// For `#[schemars(extend("x-kubernetes-validations" = …))]`.
pub(super) fn validations<const N: usize>(rules: [Rule; N]) -> Json {
    let rules = rules.into_iter().map(|rule| {
        let mut json = json!({"rule": rule.rule, "message": rule.message});
        if let Some(expression) = rule.expression {
            json["messageExpression"] = expression.into();
        }
        json
    });
    rules.collect()
}

/// RFC 1123, and a last label that is no number, which TLS and URLs would take for the end of an address.
const HOST: &str = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$";

/// Of `spec.hosts`.
pub(super) fn hosts() -> Json {
    validations([
        Rule::each(
            &format!("item.matches('{HOST}')"),
            "not the name of a host: write a DNS name in lower case, without scheme, port, path or wildcard",
        ),
        Rule::new(
            "self.all(item, self.exists_one(other, other == item))",
            "a host stands in the list twice",
        ),
    ])
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

/// Of a list of globs of models.
pub(super) fn globs() -> Json {
    validations([Rule::each(
        "item.matches('^[!-~]+$')",
        "not a model's name or a pattern of one: visible ASCII without spaces, `*` for any letters",
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
