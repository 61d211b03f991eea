//! OpenAI's chat completions, completions, embeddings and models, as its API reference documents them
//! (<https://platform.openai.com/docs/api-reference>).

use base64::Engine;
use serde_json::Value;

use super::behaviour::{Behaviour, Finish};
use super::reply::Reply;
use super::text::{Answer, Tokens, answering_model, prompt, quoted};

/// OpenAI's error object.
pub(super) fn error(status: u16, message: &str, kind: &str, code: &str) -> Reply {
    Reply::json(status, error_body(message, kind, code))
}

fn error_body(message: &str, kind: &str, code: &str) -> String {
    format!(
        "{{\n    \"error\": {{\n        \"message\": {},\n        \"type\": \"{kind}\",\n        \"param\": null,\n        \"code\": \"{code}\"\n    }}\n}}\n",
        quoted(message)
    )
}

/// The error that goes with a status, in OpenAI's words.
pub(super) fn error_of_status(status: u16) -> Reply {
    match status {
        429 => error(
            429,
            "Rate limit reached for requests. Please try again in 1s.",
            "requests",
            "rate_limit_exceeded",
        )
        .header("Retry-After", "1"),
        500.. => error(
            status,
            "The server had an error while processing your request. Sorry about that!",
            "server_error",
            "server_error",
        ),
        _ => error(
            status,
            "The request was not valid.",
            "invalid_request_error",
            "invalid_request",
        ),
    }
}

fn usage(tokens: Tokens) -> String {
    format!(
        r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        tokens.input,
        tokens.output,
        tokens.total(),
        tokens.cached,
        tokens.reasoning,
    )
}

const ZERO: Tokens = Tokens {
    input: 0,
    cached: 0,
    cache_written: 0,
    output: 0,
    reasoning: 0,
};

/// `POST /v1/chat/completions`.
pub(super) fn chat(request: &Value, model: &str, behaviour: &Behaviour) -> Reply {
    let answer = Answer::to(&prompt(request), behaviour);
    if request.get("stream").and_then(Value::as_bool) == Some(true) {
        let include = request
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool)
            == Some(true);
        let filler = behaviour.event(
            None,
            &chat_chunk(model, r#"{"content":"more "}"#, "null", include, "null"),
        );
        return behaviour.bend(
            Reply::events(chat_events(model, &answer, include, behaviour)),
            Some(filler),
        );
    }
    let usage = if behaviour.no_usage {
        String::new()
    } else {
        format!(",\n  \"usage\": {}", usage(answer.tokens))
    };
    let body = format!(
        "{{\n  \"id\": \"chatcmpl-mock1\",\n  \"object\": \"chat.completion\",\n  \"created\": 1760000000,\n  \"model\": {},\n  \"choices\": [\n    {{\n      \"index\": 0,\n      \"message\": {{\n        \"role\": \"assistant\",\n        \"content\": {},\n        \"refusal\": null,\n        \"annotations\": []\n      }},\n      \"logprobs\": null,\n      \"finish_reason\": \"stop\"\n    }}\n  ]{usage},\n  \"service_tier\": \"default\",\n  \"system_fingerprint\": \"fp_mock\"\n}}\n",
        quoted(&answering_model(model)),
        quoted(&answer.text()),
    );
    behaviour.bend(Reply::json(200, body), None)
}

fn chat_events(model: &str, answer: &Answer, include_usage: bool, behaviour: &Behaviour) -> Vec<String> {
    let event = |data: &str| behaviour.event(None, data);
    let include = include_usage && !behaviour.no_usage;
    let mut events = Vec::new();
    let first = if behaviour.zero_usage_first && include {
        usage(ZERO)
    } else {
        "null".to_owned()
    };
    let role = r#"{"role":"assistant","content":"","refusal":null}"#;
    events.push(event(&chat_chunk(model, role, "null", include, &first)));
    for piece in &answer.pieces {
        let delta = format!(r#"{{"content":{}}}"#, quoted(piece));
        events.push(event(&chat_chunk(model, &delta, "null", include, "null")));
        if behaviour.finish == Finish::ErrorEvent {
            events.push(event(
                error_body("The server had an error", "server_error", "server_error").trim(),
            ));
            return events;
        }
    }
    events.push(event(&chat_chunk(model, "{}", "\"stop\"", include, "null")));
    if include {
        events.push(event(&format!(
            r#"{{"id":"chatcmpl-mock1","object":"chat.completion.chunk","created":1760000000,"model":{},"service_tier":"default","system_fingerprint":"fp_mock","choices":[],"usage":{}}}"#,
            quoted(&answering_model(model)),
            usage(answer.tokens)
        )));
    }
    events.push(event("[DONE]"));
    events
}

fn chat_chunk(model: &str, delta: &str, finish_reason: &str, include_usage: bool, usage: &str) -> String {
    let usage = if include_usage {
        format!(r#","usage":{usage}"#)
    } else {
        String::new()
    };
    format!(
        r#"{{"id":"chatcmpl-mock1","object":"chat.completion.chunk","created":1760000000,"model":{},"service_tier":"default","system_fingerprint":"fp_mock","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]{usage}}}"#,
        quoted(&answering_model(model))
    )
}

/// `POST /v1/completions`.
pub(super) fn completion(request: &Value, model: &str, behaviour: &Behaviour) -> Reply {
    let answer = Answer::to(&prompt(request), behaviour);
    let head = format!(
        r#""id":"cmpl-mock1","object":"text_completion","created":1760000000,"model":{}"#,
        quoted(&answering_model(model))
    );
    if request.get("stream").and_then(Value::as_bool) == Some(true) {
        let include = request
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool)
            == Some(true);
        let null = if include { r#","usage":null"# } else { "" };
        let mut events: Vec<String> = answer
            .pieces
            .iter()
            .map(|piece| {
                let choice = format!(
                    r#"{{"text":{},"index":0,"logprobs":null,"finish_reason":null}}"#,
                    quoted(piece)
                );
                behaviour.event(None, &format!(r#"{{{head},"choices":[{choice}]{null}}}"#))
            })
            .collect();
        if include {
            let usage = usage(answer.tokens);
            events.push(behaviour.event(None, &format!(r#"{{{head},"choices":[],"usage":{usage}}}"#)));
        }
        events.push(behaviour.event(None, "[DONE]"));
        return behaviour.bend(Reply::events(events), None);
    }
    let body = format!(
        r#"{{{head},"choices":[{{"text":{},"index":0,"logprobs":null,"finish_reason":"stop"}}],"usage":{}}}"#,
        quoted(&answer.text()),
        usage(answer.tokens)
    );
    behaviour.bend(Reply::json(200, body), None)
}

/// `POST /v1/embeddings`: three dimensions, as floats or as base64 of little-endian 32-bit floats.
pub(super) fn embeddings(request: &Value, model: &str, behaviour: &Behaviour) -> Reply {
    let text = prompt(request);
    let inputs = match request.get("input") {
        Some(Value::Array(inputs)) if inputs.iter().all(Value::is_string) => inputs.len(),
        _ => 1,
    };
    let vector = [0.5_f32, -0.25, 0.125];
    let vector = if request.get("encoding_format").and_then(Value::as_str) == Some("base64") {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        quoted(&base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        "[0.5,-0.25,0.125]".to_owned()
    };
    let data: Vec<String> = (0..inputs)
        .map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#))
        .collect();
    let tokens = Answer::to(&text, behaviour).tokens.input;
    let body = format!(
        r#"{{"object":"list","data":[{}],"model":{},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
        data.join(","),
        quoted(model)
    );
    behaviour.bend(Reply::json(200, body), None)
}

/// `GET /v1/models`.
pub(super) fn models() -> Reply {
    let models: Vec<String> = ["gpt-4o-mini", "gpt-4o", "text-embedding-3-small"]
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","object":"model","created":1721172741,"owned_by":"system"}}"#))
        .collect();
    Reply::json(
        200,
        format!(r#"{{"object":"list","data":[{}]}}"#, models.join(",")),
    )
}
