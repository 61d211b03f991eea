use std::io::Write;

use proptest::prelude::{any, prop, prop_assert_eq, prop_oneof, proptest};

use super::{Reading, ResponseScan, UsageReading};
use crate::testing::{json_text, pieces, stream_text};
use crate::{Endpoint, Usage};

const EVENTS: Option<&str> = Some("text/event-stream; charset=utf-8");
const JSON: Option<&str> = Some("application/json");

fn read(endpoint: Endpoint, content_type: Option<&str>, parts: &[&[u8]]) -> Reading {
    let mut scan = ResponseScan::new(endpoint, content_type, None);
    for part in parts {
        scan.push(part);
    }
    scan.reading()
}

/// Reads it whole and byte by byte, which must come to the same.
fn read_all(endpoint: Endpoint, content_type: Option<&str>, body: &str) -> Reading {
    let whole = read(endpoint, content_type, &[body.as_bytes()]);
    for size in [1, 2, 7] {
        assert_eq!(
            read(
                endpoint,
                content_type,
                &body.as_bytes().chunks(size).collect::<Vec<_>>()
            ),
            whole
        );
    }
    whole
}

fn used(input: u64, output: u64) -> UsageReading {
    UsageReading::Read(Usage {
        input,
        output,
        ..Usage::default()
    })
}

const CHAT: &str = r#"

{"id":"chatcmpl-B9MBs8","object":"chat.completion","created":1741569952,"model":"gpt-4.1-2025-04-14",
"choices":[{"index":0,"message":{"role":"assistant","content":"Hello! {\"usage\":{\"prompt_tokens\":1}}","refusal":null},"finish_reason":"stop"}],
"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}},"service_tier":"default"}"#;

#[test]
fn chat_completions_plain() {
    for content_type in [
        JSON,
        Some("Application/JSON; charset=utf-8"),
        Some("text/plain"),
        None,
    ] {
        let reading = read_all(Endpoint::ChatCompletions, content_type, CHAT);
        assert_eq!(reading.usage, used(19, 10));
        assert_eq!(reading.model.as_deref(), Some("gpt-4.1-2025-04-14"));
        assert!(reading.finished && !reading.error);
    }
    let cut = read_all(Endpoint::ChatCompletions, JSON, &CHAT[..CHAT.len() - 1]);
    assert!(!cut.finished);
    assert_eq!(cut.usage, used(19, 10));
    let cut = read_all(Endpoint::ChatCompletions, JSON, &CHAT[..CHAT.len() / 2]);
    assert_eq!(cut.usage, UsageReading::Unread);
}

#[test]
fn chat_completions_stream() {
    let stream = "data: {\"id\":\"1\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n\
        data: {\"id\":\"1\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
        : keep-alive\n\n\
        data: {\"id\":\"1\",\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12}}\n\n\
        data: [DONE]\n\n";
    for stream in [
        stream.to_owned(),
        stream.replace('\n', "\r\n"),
        stream.replace('\n', "\r"),
        stream.replace("data: ", "data:"),
    ] {
        for content_type in [EVENTS, Some("TEXT/EVENT-STREAM"), None] {
            let reading = read_all(Endpoint::ChatCompletions, content_type, &stream);
            assert_eq!(reading.usage, used(9, 12));
            assert_eq!(reading.model.as_deref(), Some("gpt-4o-mini"));
            assert!(reading.finished && !reading.error);
        }
    }
    let cut = &stream[..stream.len() - "data: [DONE]\n\n".len()];
    assert!(!read_all(Endpoint::ChatCompletions, EVENTS, cut).finished);
    assert!(read_all(Endpoint::ChatCompletions, EVENTS, stream.trim_end()).finished);
}

#[test]
fn other_providers_streams() {
    // zeros first, then the figures, then null
    let zeros = "data:{\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n\
        data:{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":0}}\n\n\
        data:{\"usage\":{\"completion_tokens\":7}}\n\ndata:{\"usage\":null}\n\n";
    assert_eq!(
        read_all(Endpoint::ChatCompletions, EVENTS, zeros).usage,
        used(5, 7)
    );
    let groq = "data: {\"model\":\"llama-3.3-70b-versatile\",\"choices\":[],\"x_groq\":{\"id\":\"req\"}}\n\n\
        data: {\"model\":\"llama-3.3-70b-versatile\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req\",\"usage\":{\"queue_time\":0.037493756,\"prompt_tokens\":18,\"completion_tokens\":3}}}\n\n";
    assert_eq!(
        read_all(Endpoint::ChatCompletions, EVENTS, groq).usage,
        used(18, 3)
    );
    let open_router = ": OPENROUTER PROCESSING\n\n\
        data: {\"id\":\"gen\",\"model\":\"openai/gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
        data: {\"id\":\"gen\",\"model\":\"openai/gpt-4o\",\"error\":{\"code\":\"server_error\",\"message\":\"Provider disconnected\"},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    let reading = read_all(Endpoint::ChatCompletions, EVENTS, open_router);
    assert!(reading.error && !reading.finished);
    assert_eq!(reading.usage, UsageReading::Unread);
    let several = "data: {\"model\":\"m\",\ndata: \"usage\":{\"prompt_tokens\":1}\ndata: }\n\n";
    assert_eq!(
        read_all(Endpoint::ChatCompletions, EVENTS, several).usage,
        used(1, 0)
    );
}

#[test]
fn responses() {
    let plain = r#"{"id":"resp_1","object":"response","status":"completed","error":null,"model":"gpt-4.1","output":[],
        "usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":0},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":123}}"#;
    let reading = read_all(Endpoint::Responses, JSON, plain);
    assert_eq!(
        (reading.usage, reading.finished, reading.error),
        (used(36, 87), true, false)
    );
    for (kind, error) in [("completed", false), ("incomplete", false), ("failed", true)] {
        let stream = format!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"model\":\"gpt-4.1\",\"error\":null,\"usage\":null}}}}\n\n\
             event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}}\n\n\
             event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",\"response\":{{\"model\":\"gpt-4.1\",\"error\":null,\"usage\":{{\"input_tokens\":37,\"output_tokens\":11}}}}}}\n\n"
        );
        let reading = read_all(Endpoint::Responses, EVENTS, &stream);
        assert_eq!(
            (reading.usage, reading.finished, reading.error),
            (used(37, 11), true, error)
        );
        assert_eq!(reading.model.as_deref(), Some("gpt-4.1"));
    }
    let error = "event: error\ndata: {\"type\":\"error\",\"code\":\"ERR\",\"message\":\"no\"}\n\n";
    let reading = read_all(Endpoint::Responses, EVENTS, error);
    assert!(reading.error && !reading.finished);
}

#[test]
fn messages() {
    let plain = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hi"}],
        "usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":6}}"#;
    let usage = Usage {
        input: 17,
        output: 6,
        cache_read: 4,
        cache_creation: 3,
        ..Usage::default()
    };
    let reading = read_all(Endpoint::Messages, JSON, plain);
    assert_eq!(reading.usage, UsageReading::Read(usage));
    assert!(reading.finished && !reading.error);

    let stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-opus-4-1\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: ping\ndata: {\"type\": \"ping\"}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let usage = Usage {
        input: 30,
        output: 15,
        cache_read: 5,
        ..Usage::default()
    };
    let reading = read_all(Endpoint::Messages, EVENTS, stream);
    assert_eq!(reading.usage, UsageReading::Read(usage));
    assert_eq!(reading.model.as_deref(), Some("claude-opus-4-1"));
    assert!(reading.finished && !reading.error);
    // broken off after the first event: what was seen
    let start = &stream[..stream.find("event: ping").expect("there")];
    let reading = read_all(Endpoint::Messages, EVENTS, start);
    assert_eq!(reading.usage, UsageReading::Read(Usage { output: 1, ..usage }));
    assert!(!reading.finished);
    let error = "event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"overloaded_error\", \"message\": \"Overloaded\"}}\n\n";
    assert!(read_all(Endpoint::Messages, EVENTS, &format!("{start}{error}")).error);
}

#[test]
fn embeddings_and_the_rest() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023064255,-0.009327292]}],
        "model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(read_all(Endpoint::Embeddings, JSON, body).usage, used(8, 0));
    for endpoint in [Endpoint::Models, Endpoint::CountTokens, Endpoint::Other] {
        let reading = read_all(endpoint, JSON, body);
        assert_eq!(
            reading,
            Reading {
                usage: UsageReading::None,
                model: None,
                finished: false,
                error: false
            }
        );
    }
    for body in ["", "<html>", "{}", "data: {}\n\n"] {
        assert_eq!(
            read_all(Endpoint::Embeddings, None, body).usage,
            UsageReading::Unread
        );
    }
}

#[test]
fn encoded_bodies() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(CHAT.as_bytes()).expect("memory");
    let body = encoder.finish().expect("memory");
    let read = |encoding, body: &[u8], size| {
        let mut scan = ResponseScan::new(Endpoint::ChatCompletions, JSON, Some(encoding));
        body.chunks(size).for_each(|part| scan.push(part));
        scan.reading()
    };
    for size in [1, 10, 10_000] {
        assert_eq!(read("gzip", &body, size).usage, used(19, 10));
        assert_eq!(read("identity", CHAT.as_bytes(), size).usage, used(19, 10));
        assert_eq!(read("br", &body, size).usage, UsageReading::Unread);
        assert_eq!(read("lzma", &body, size).usage, UsageReading::Unread);
    }
}

proptest! {
    #[test]
    fn any_split_reads_the_same(
        body in prop_oneof![4 => stream_text(), 1 => prop::collection::vec(any::<u8>(), 0..100), 1 => proptest::strategy::Strategy::prop_map(json_text(), String::into_bytes)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Messages] {
            for content_type in [EVENTS, JSON, None] {
                let whole = read(endpoint, content_type, &[&body]);
                prop_assert_eq!(&whole, &read(endpoint, content_type, &pieces(&body, &cuts)), "{:?} {:?} {}", endpoint, content_type, String::from_utf8_lossy(&body));
                prop_assert_eq!(&whole, &read(endpoint, content_type, &body.chunks(1).collect::<Vec<_>>()), "{:?} {:?} {}", endpoint, content_type, String::from_utf8_lossy(&body));
            }
        }
    }
}
