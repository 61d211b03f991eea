//! Weir's own errors in the words of the dialect that the client expects.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use crate::Dialect;

/// An error that Weir itself answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorReply<'a> {
    /// The HTTP status.
    pub status: StatusCode,
    /// Weir's stable code, such as `weir_model_denied`.
    pub code: &'a str,
    /// What is wrong and what to do, in plain words.
    pub message: &'a str,
}

/// <https://platform.openai.com/docs/guides/error-codes/api-errors>
#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiMembers<'a>,
}

#[derive(Serialize)]
struct OpenAiMembers<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'a str,
}

/// <https://docs.anthropic.com/en/api/errors>
#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    error: AnthropicMembers<'a>,
}

#[derive(Serialize)]
struct AnthropicMembers<'a> {
    r#type: &'static str,
    message: &'a str,
    /// Not Anthropic's: its SDKs keep the body as it is, so that a program can read this there.
    code: &'a str,
}

impl Dialect {
    /// The error as a response body; its content type is `application/json`.
    pub fn error_body(self, reply: &ErrorReply<'_>) -> Bytes {
        let body = match self {
            Self::OpenAi => serde_json::to_vec(&OpenAiError {
                error: OpenAiMembers {
                    message: reply.message,
                    r#type: open_ai_type(reply.status),
                    param: None,
                    code: reply.code,
                },
            }),
            Self::Anthropic => serde_json::to_vec(&AnthropicError {
                r#type: "error",
                error: AnthropicMembers {
                    r#type: anthropic_type(reply.status),
                    message: reply.message,
                    code: reply.code,
                },
            }),
        };
        // Serialising text to memory cannot fail.
        Bytes::from(body.unwrap_or_default())
    }

    /// The error as an event in a stream that has already begun. Where an event was cut short, a blank line must be sent
    /// before it, or the client takes both for one.
    pub fn error_event(self, reply: &ErrorReply<'_>) -> Bytes {
        let body = self.error_body(reply);
        let start: &[u8] = match self {
            Self::OpenAi => b"data: ",
            Self::Anthropic => b"event: error\ndata: ",
        };
        [start, &body, b"\n\n"].concat().into()
    }
}

/// OpenAI's `type`s.
fn open_ai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        503 => "service_unavailable_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Anthropic's `type`s.
fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::ErrorReply;
    use crate::{Dialect, Endpoint, ResponseScan};

    const MESSAGE: &str = "The model \"x\" is not allowed.\nAsk for it.";

    fn reply(status: u16) -> ErrorReply<'static> {
        let status = http::StatusCode::from_u16(status).expect("a status");
        ErrorReply {
            status,
            code: "weir_model_denied",
            message: MESSAGE,
        }
    }

    #[test]
    fn bodies() {
        let read = |dialect: Dialect, status| -> Value {
            serde_json::from_slice(&dialect.error_body(&reply(status))).expect("JSON")
        };
        assert_eq!(
            read(Dialect::OpenAi, 403),
            json!({"error": {"message": MESSAGE, "type": "permission_error", "param": null, "code": "weir_model_denied"}})
        );
        assert_eq!(
            read(Dialect::Anthropic, 403),
            json!({"type": "error", "error": {"type": "permission_error", "message": MESSAGE, "code": "weir_model_denied"}})
        );
        for (status, open_ai, anthropic) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (404, "not_found_error", "not_found_error"),
            (413, "invalid_request_error", "request_too_large"),
            (421, "invalid_request_error", "invalid_request_error"),
            (429, "rate_limit_error", "rate_limit_error"),
            (500, "server_error", "api_error"),
            (502, "server_error", "api_error"),
            (503, "service_unavailable_error", "overloaded_error"),
            (504, "server_error", "timeout_error"),
            (529, "server_error", "overloaded_error"),
        ] {
            assert_eq!(read(Dialect::OpenAi, status)["error"]["type"], open_ai);
            assert_eq!(read(Dialect::Anthropic, status)["error"]["type"], anthropic);
        }
    }

    #[test]
    fn events_are_read_as_errors() {
        for (dialect, endpoint) in [
            (Dialect::OpenAi, Endpoint::ChatCompletions),
            (Dialect::OpenAi, Endpoint::Responses),
            (Dialect::Anthropic, Endpoint::Messages),
        ] {
            let event = dialect.error_event(&reply(502));
            assert!(event.ends_with(b"}\n\n"));
            assert_eq!(
                event.iter().filter(|byte| **byte == b'\n').count(),
                if endpoint == Endpoint::Messages { 3 } else { 2 }
            );
            let mut scan = ResponseScan::new(endpoint, Some("text/event-stream"), None);
            scan.push(&event);
            assert!(scan.reading().error);
        }
    }
}
