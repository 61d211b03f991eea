//! Anthropic's messages API (<https://docs.claude.com/en/api/messages>).

use serde_json::Value;

use super::behaviour::{Behaviour, Finish};
use super::reply::Reply;
use super::text::{Answer, Tokens, answering_model, prompt, quoted};

/// Anthropic's error object.
pub(super) fn error(status: u16, kind: &str, message: &str) -> Reply {
    Reply::json(status, error_body(kind, message)).header("request-id", "req_mock1")
}

fn error_body(kind: &str, message: &str) -> String {
    format!(
        r#"{{"type":"error","error":{{"type":"{kind}","message":{}}},"request_id":"req_mock1"}}"#,
        quoted(message)
    )
}

/// The error that goes with a status, in Anthropic's words.
pub(super) fn error_of_status(status: u16) -> Reply {
    match status {
        429 => error(
            429,
            "rate_limit_error",
            "This request would exceed your rate limit.",
        )
        .header("retry-after", "1"),
        529 => error(529, "overloaded_error", "Overloaded"),
        500.. => error(status, "api_error", "Internal server error"),
        _ => error(status, "invalid_request_error", "The request was not valid."),
    }
}

/// Input tokens here exclude what was read from the cache or written to it.
fn usage(tokens: Tokens, output: u64) -> String {
    let Tokens {
        input,
        cached,
        cache_written,
        ..
    } = tokens;
    let fresh = input - cached - cache_written;
    format!(
        r#"{{"input_tokens":{fresh},"cache_creation_input_tokens":{cache_written},"cache_read_input_tokens":{cached},"cache_creation":{{"ephemeral_5m_input_tokens":{cache_written},"ephemeral_1h_input_tokens":0}},"output_tokens":{output},"service_tier":"standard"}}"#
    )
}

fn message(model: &str, content: &str, stop: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"msg_mock1","type":"message","role":"assistant","model":{},"content":[{content}],"stop_reason":{stop},"stop_sequence":null,"usage":{usage}}}"#,
        quoted(&answering_model(model))
    )
}

/// `POST /v1/messages`.
pub(super) fn messages(request: &Value, model: &str, behaviour: &Behaviour) -> Reply {
    let answer = Answer::to(&prompt(request), behaviour);
    let Tokens { output, .. } = answer.tokens;
    if request.get("stream").and_then(Value::as_bool) != Some(true) {
        let content = format!(r#"{{"type":"text","text":{}}}"#, quoted(&answer.text()));
        let body = message(model, &content, "\"end_turn\"", &usage(answer.tokens, output));
        return behaviour.bend(Reply::json(200, body).header("request-id", "req_mock1"), None);
    }
    let event = |name: &str, data: &str| behaviour.event(Some(name), data);
    let delta = |text: &str| {
        let data = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{}}}}}"#,
            quoted(text)
        );
        event("content_block_delta", &data)
    };
    let start = message(model, "", "null", &usage(answer.tokens, 1));
    let mut events = vec![
        event(
            "message_start",
            &format!(r#"{{"type":"message_start","message":{start}}}"#),
        ),
        event(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        event("ping", r#"{"type": "ping"}"#),
    ];
    for piece in &answer.pieces {
        events.push(delta(piece));
        if behaviour.finish == Finish::ErrorEvent {
            events.push(event("error", &error_body("overloaded_error", "Overloaded")));
            return behaviour.bend(Reply::events(events), None);
        }
    }
    events.push(event(
        "content_block_stop",
        r#"{"type":"content_block_stop","index":0}"#,
    ));
    if behaviour.zero_usage_first {
        let data = r#"{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":0}}"#;
        events.push(event("message_delta", data));
    }
    let data = format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{output}}}}}"#
    );
    events.push(event("message_delta", &data));
    events.push(event("message_stop", r#"{"type":"message_stop"}"#));
    behaviour.bend(Reply::events(events), Some(delta("more ")))
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count_tokens(request: &Value, behaviour: &Behaviour) -> Reply {
    let tokens = Answer::to(&prompt(request), behaviour).tokens.input;
    Reply::json(200, format!(r#"{{"input_tokens":{tokens}}}"#))
}
