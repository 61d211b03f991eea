//! When the provider fails: an error in the host's own words, with a stable code.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::wire::Whole;
use weir_tests::captured::{Dialer, configuration, provider};
use weir_tests::world::log::LogLine;
use weir_tests::world::{World, servers};

use super::{CHAT_BODY, anthropic, code, message, openai, post};

/// One exchange in either dialect with the server that the test has started: its answer, and its line.
fn fail(world: &World) -> Vec<(Whole, LogLine)> {
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(world)));
    let first = openai(world, &dialer)
        .exchange(post("/v1/chat/completions", CHAT_BODY))
        .unwrap();
    let second = anthropic(world, &dialer).exchange(message(CHAT_BODY)).unwrap();
    let mut lines = dialer.finish().access_log;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        second.json().get("type"),
        Some(&json!("error")),
        "{}",
        second.text()
    );
    assert!(first.json().get("type").is_none(), "{}", first.text());
    let last = lines.pop().unwrap();
    vec![(first, lines.pop().unwrap()), (second, last)]
}

/// The same, for a failure before any answer.
fn fails_with(world: &World, status: u16, wanted: &str) -> Vec<Whole> {
    let (answers, lines): (Vec<_>, Vec<_>) = fail(world).into_iter().unzip();
    for (answer, line) in answers.iter().zip(lines) {
        assert_eq!(
            (answer.head.status(), code(&answer.json())),
            (status, wanted),
            "{}",
            answer.text()
        );
        let message = answer.json().pointer("/error/message").unwrap().to_string();
        assert!(
            message.contains("free.example") || message.contains("api."),
            "{message}"
        );
        line.assert(&json!({
            "weir.outcome": "upstream_error",
            "weir.error.code": wanted,
            "http.response.status_code": status,
            "weir.usage": "none",
        }));
    }
    answers
}

fn resetting(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

#[test]
fn reset_before_tls() {
    let world = World::new();
    let _reports = servers::start("203.0.113.40", 443, |mut stream: TcpStream| {
        stream.read_exact(&mut [0; 1])?;
        resetting(&stream)?;
        Ok(String::new())
    });
    fails_with(&world, 502, "weir_upstream_tls");
}

#[test]
fn no_tls_at_all() {
    let world = World::new();
    let _reports = servers::start("203.0.113.40", 443, |mut stream: TcpStream| {
        stream.write_all(b"220 mail.example ESMTP\r\n")?;
        io::copy(&mut stream, &mut io::sink())?;
        Ok(String::new())
    });
    fails_with(&world, 502, "weir_upstream_tls");
}

/// Nobody says no, and nobody answers: a firewall that drops packets looks so.
#[test]
fn nobody_accepts_the_connection() {
    let world = World::new();
    let _blackhole = servers::Blackhole::start("203.0.113.40", 443);
    for answer in fails_with(&world, 504, "weir_upstream_timeout") {
        assert_eq!(answer.head.header("retry-after"), Some("1"), "it may pass");
        assert_eq!(answer.head.header("x-should-retry"), None);
    }
}

#[test]
fn silent_in_the_handshake() {
    let world = World::new();
    let _reports = servers::start("203.0.113.40", 443, |mut stream: TcpStream| {
        io::copy(&mut stream, &mut io::sink())?;
        Ok(String::new())
    });
    fails_with(&world, 504, "weir_upstream_timeout");
}

#[test]
fn reset_after_the_request() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        resetting(&wire.stream().sock)?;
        Ok(String::new())
    });
    fails_with(&world, 502, "weir_upstream_closed");
}

#[test]
fn closed_in_the_middle_of_the_head() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send("HTTP/1.1 200 OK\r\nContent-Ty")?;
        Ok(String::new())
    });
    fails_with(&world, 502, "weir_upstream_closed");
}

#[test]
fn an_answer_that_is_no_http() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send("\x16\x03 this is not HTTP\r\n\r\n")?;
        wire.rest()?;
        Ok(String::new())
    });
    fails_with(&world, 502, "weir_upstream_invalid");
}

#[test]
fn an_answer_whose_head_never_ends() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send("HTTP/1.1 200 OK\r\n")?;
        // Ends by an error, once Weir has heard enough.
        loop {
            wire.send("X-Again: and again and again\r\n".repeat(1000))?;
        }
    });
    fails_with(&world, 502, "weir_upstream_invalid");
}

#[test]
fn a_page_instead_of_an_error() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        let page = "<html><h1>503 Service Temporarily Unavailable</h1></html>";
        wire.send(format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ))?;
        wire.rest()?;
        Ok(String::new())
    });
    let answers = fails_with(&world, 503, "weir_upstream_failed");
    for answer in answers {
        assert_eq!(
            answer.head.header("retry-after"),
            Some("7"),
            "what the provider said"
        );
    }
}

#[test]
fn an_error_of_the_providers_own_passes_as_it_is() {
    let world = World::new();
    let error = "{ \"error\" : {\"message\":\"overloaded\" , \"code\":\"theirs\"}, \"type\":\"error\" }";
    let _reports = provider::start(&world, move |mut wire: Served| {
        wire.whole()?;
        wire.send(format!(
            "HTTP/1.1 529 Busy\r\ncontent-TYPE: application/json; charset=utf-8\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{error}",
            error.len()
        ))?;
        wire.rest()?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let answer = openai(&world, &dialer)
        .exchange(post("/v1/chat/completions", CHAT_BODY))
        .unwrap();
    assert_eq!((answer.head.status(), answer.text().as_str()), (529, error));
    assert_eq!(
        answer.head.names(),
        ["content-TYPE", "Retry-After", "Content-Length"]
    );
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "completed",
        "http.response.status_code": 529,
        "weir.error.code": "weir_upstream_failed",
        "weir.usage": "none",
    }));
}

const BEGUN: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";

/// A stream that breaks off: what came of it has come, then an error event of the dialect, and usage so far is booked.
fn breaks_off(how: fn(&mut Served) -> io::Result<()>) {
    let world = World::new();
    let _reports = provider::start(&world, move |mut wire: Served| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk(BEGUN)?;
        how(&mut wire)?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let request = r#"{"model":"claude-sonnet-4-5","stream":true,"max_tokens":9,"messages":[]}"#;
    let answer = anthropic(&world, &dialer).exchange(message(request)).unwrap();
    let text = answer.text();
    let event = text.strip_prefix(BEGUN).unwrap_or_else(|| panic!("{text}"));
    let data = event
        .strip_prefix("event: error\ndata: ")
        .unwrap_or_else(|| panic!("{text}"));
    let error: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(code(&error), "weir_upstream_truncated");
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "truncated",
        "weir.error.code": "weir_upstream_truncated",
        "http.response.status_code": 200,
        "weir.stream": true,
        "gen_ai.usage.input_tokens": 25,
        "gen_ai.response.model": "claude-sonnet-4-5",
    }));
}

#[test]
fn a_stream_that_is_closed_in_the_middle() {
    breaks_off(|_| Ok(()));
}

#[test]
fn a_stream_that_is_reset_in_the_middle() {
    breaks_off(|wire| resetting(&wire.stream().sock));
}

#[test]
fn a_stream_with_broken_chunks() {
    breaks_off(|wire| {
        wire.send("this is no chunk size\r\n")?;
        wire.rest().map(drop)
    });
}

#[test]
fn half_an_event_is_not_mended() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk("data: {\"hal")?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let request = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
    wire.send(post("/v1/chat/completions", request)).unwrap();
    wire.head().unwrap();
    assert_eq!(wire.chunk().unwrap().unwrap(), b"data: {\"hal");
    // Whatever follows, it is not an end that could be taken for a good one.
    assert!(wire.chunk().is_err(), "the client has to see that it broke off");
    drop(wire);
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"weir.outcome": "truncated"}));
}

#[test]
fn an_answer_shorter_than_its_length_is_seen_to_be() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"id\":",
        )?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send(post("/v1/chat/completions", CHAT_BODY)).unwrap();
    let head = wire.head().unwrap();
    assert_eq!(head.header("content-length"), Some("100"));
    assert!(wire.body(&head).is_err());
    drop(wire);
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"weir.outcome": "truncated"}));
}

/// A clean end of the bytes is none of the stream while its own last word is missing.
#[test]
fn a_stream_without_its_last_word_was_cut_short() {
    const EVENT: &str =
        "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{EVENT}",
            EVENT.len()
        ))?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let request = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
    wire.send(post("/v1/chat/completions", request)).unwrap();
    assert_eq!(wire.whole().unwrap().text(), EVENT);
    drop(wire);
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"weir.outcome": "truncated", "weir.error.code": "weir_upstream_truncated"}));
}

#[test]
fn no_switch_but_to_websocket_is_asked_for() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let whole = wire.whole()?;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(format!(
            "{:?} {:?}",
            whole.head.header("upgrade"),
            whole.head.header("http2-settings")
        ))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let request = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
    assert_eq!(reports.recv().unwrap(), "None None");
    drop(wire);
    dialer.finish();
}
