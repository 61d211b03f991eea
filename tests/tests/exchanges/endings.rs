//! How answers end: by their own last word, by their connection, by the provider's own error.

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, Signal, configuration, http2, provider};
use weir_tests::world::World;
use weir_tests::world::servers::Reports;

use super::{CHAT_BODY, OPENAI, anthropic, message, openai, post};

const STREAM: &str = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
const EVENTS: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n\
                      data: {\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const COMPLETION: &str =
    r#"{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#;

/// A provider whose stream's last word has come, and whose connection rests until the client has gone.
fn resting_behind_the_last_word(world: &World) -> (Reports, Signal) {
    let gone = Signal::default();
    let server_gone = gone.clone();
    let reports = provider::start(world, move |mut wire: Served| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk(EVENTS)?;
        wire.send_chunk(DONE)?;
        server_gone.wait();
        // Whether Weir is still there to hear it does not matter.
        let _ = wire.send_chunk("");
        Ok(String::new())
    });
    (reports, gone)
}

fn assert_completed(dialer: Dialer<'_>) {
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "completed",
        "weir.error.code": null,
        "weir.usage": "read",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
    }));
}

/// As openai-python does: it closes on `[DONE]`.
#[test]
fn the_client_closes_on_the_last_word() {
    let world = World::new();
    let (reports, gone) = resting_behind_the_last_word(&world);
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send(post("/v1/chat/completions", STREAM)).unwrap();
    wire.head().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(DONE.as_bytes()) {
        seen.extend(wire.chunk().unwrap().unwrap());
    }
    drop(wire);
    dialer.running().wait_for_exchanges(1);
    gone.give();
    reports.recv().unwrap();
    assert_completed(dialer);
}

#[test]
fn the_client_resets_its_stream_on_the_last_word() {
    let world = World::new();
    let (reports, gone) = resting_behind_the_last_word(&world);
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let runtime = http2::runtime();
    let sender = runtime.block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let request = http2::post("https://api.openai.com/v1/chat/completions", STREAM);
        let mut response = sender.send_request(request).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(DONE.as_bytes()) {
            let frame = http_body_util::BodyExt::frame(response.body_mut()).await;
            seen.extend(frame.unwrap().unwrap().into_data().unwrap());
        }
        drop(response);
        sender
    });
    // Only the stream is reset: the connection goes on meanwhile.
    let (settled, told) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| settled.send(dialer.running().wait_for_exchanges(1)));
        runtime.block_on(told).unwrap();
    });
    assert!(!sender.is_closed());
    gone.give();
    reports.recv().unwrap();
    assert_completed(dialer);
}

/// How a server without lengths ends its answer.
#[derive(Clone, Copy, Debug)]
enum Close {
    WithNotify,
    /// As Python's ssl module does.
    WithoutNotify,
}

/// What the client is given of an answer that only the end of its connection ends, and the exchange's outcome.
fn ended_by_close(
    version: &'static str,
    kind: &'static str,
    body: &'static str,
    close: Close,
) -> (String, String) {
    let world = World::new();
    let _reports = provider::start(&world, move |mut wire: Served| {
        wire.whole()?;
        wire.send(format!("{version} 200 OK\r\nContent-Type: {kind}\r\n\r\n{body}"))?;
        if let Close::WithNotify = close {
            provider::notify_close(&mut wire)?;
        }
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let request = if kind == "text/event-stream" {
        STREAM
    } else {
        CHAT_BODY
    };
    wire.send(post("/v1/chat/completions", request)).unwrap();
    let head = wire.head().unwrap();
    assert!(
        head.start.starts_with("HTTP/1.1 200"),
        "our own version: {}",
        head.start
    );
    let body = wire.body(&head).map_or_else(
        |error| format!("broken: {error}"),
        |body| String::from_utf8_lossy(&body).into_owned(),
    );
    // The client's connection is not the provider's: it stays.
    let next = (!body.starts_with("broken")).then(|| wire.exchange(post("/v1/chat/completions", request)));
    if let Some(next) = next {
        assert_eq!(next.unwrap().head.status(), 200);
    }
    drop(wire);
    let lines = dialer.finish().access_log;
    (body, lines.first().unwrap().text("weir.outcome").to_owned())
}

#[test]
fn an_answer_ended_by_its_connection_is_whole() {
    let events: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[]}\n\ndata: [DONE]\n\n";
    for close in [Close::WithNotify, Close::WithoutNotify] {
        for version in ["HTTP/1.0", "HTTP/1.1"] {
            for (kind, body) in [("application/json", COMPLETION), ("text/event-stream", events)] {
                let seen = ended_by_close(version, kind, body, close);
                let wanted = (body.to_owned(), "completed".to_owned());
                assert_eq!(seen, wanted, "{version} {kind} {close:?}");
            }
        }
    }
}

/// Without `close_notify` anybody on the way may have ended it: what says of itself that something is missing was cut.
#[test]
fn half_an_answer_ended_by_its_connection_is_not() {
    let json = &COMPLETION[..40];
    let (body, outcome) = ended_by_close("HTTP/1.1", "application/json", json, Close::WithoutNotify);
    assert!(body.starts_with("broken"), "{body}");
    assert_eq!(outcome, "truncated");

    let event = "data: {\"model\":\"gpt-4o\",\"choices\":[]}\n\n";
    let (body, outcome) = ended_by_close("HTTP/1.1", "text/event-stream", event, Close::WithoutNotify);
    let told = body.strip_prefix(event).unwrap();
    assert!(told.contains("weir_upstream_truncated"), "{body}");
    assert_eq!(outcome, "truncated");
}

/// The provider's own error in a stream that had begun well: passed on as it is, and booked as what it is.
fn tells_an_error(path: &'static str, begun: &'static str, error: &'static str) {
    let world = World::new();
    let _reports = provider::start(&world, move |mut wire: Served| {
        wire.whole()?;
        let length = begun.len() + error.len();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n{begun}{error}"
        ))?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let answer = if path == "/v1/messages" {
        anthropic(&world, &dialer).exchange(message(STREAM)).unwrap()
    } else {
        openai(&world, &dialer).exchange(post(path, STREAM)).unwrap()
    };
    assert_eq!(answer.text(), format!("{begun}{error}"));
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "completed",
        "weir.error.code": "weir_upstream_failed",
        "http.response.status_code": 200,
        "gen_ai.response.model": "m-1",
    }));
}

#[test]
fn an_error_in_a_chat_stream() {
    tells_an_error(
        "/v1/chat/completions",
        "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":null}}\n\n",
    );
}

#[test]
fn an_error_in_a_stream_of_responses() {
    tells_an_error(
        "/v1/responses",
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m-1\",\"usage\":null}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"Sorry\",\"param\":null}\n\n",
    );
}

#[test]
fn an_error_in_a_stream_of_messages() {
    tells_an_error(
        "/v1/messages",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"usage\":{\"input_tokens\":2,\"output_tokens\":1}}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    );
}
