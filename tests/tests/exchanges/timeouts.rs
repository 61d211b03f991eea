//! What an AIPolicy waits for, and for how long.

use std::io;

use serde_json::json;
use weir_tests::captured::Wire;
use weir_tests::captured::provider::{self, Served};
use weir_tests::captured::tls::TlsStream;
use weir_tests::world::{World, servers};

use super::policies::{obliging, under};
use super::{CHAT_BODY, code, openai, post};

const CHAT: &str = "/v1/chat/completions";

/// An exchange that waits no longer.
fn gives_up(world: &World, spec: &str, says: &str) {
    let dialer = under(world, spec);
    let answer = openai(world, &dialer).exchange(post(CHAT, CHAT_BODY)).unwrap();
    assert_eq!(
        (answer.head.status(), code(&answer.json())),
        (504, "weir_upstream_timeout"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains(says), "{}", answer.text());
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "upstream_error",
        "weir.error.code": "weir_upstream_timeout",
    }));
}

#[test]
fn a_connection_has_so_long_to_stand() {
    let world = World::new();
    let _blackhole = servers::Blackhole::start("203.0.113.40", 443);
    gives_up(&world, "timeouts: {connect: 300ms}", "within 300ms");
}

/// Nor does its TLS handshake have longer.
#[test]
fn a_handshake_has_so_long_to_end() {
    let world = World::new();
    let _reports = servers::start("203.0.113.40", 443, |mut stream| {
        io::copy(&mut stream, &mut io::sink())?;
        Ok(String::new())
    });
    gives_up(&world, "timeouts: {connect: 300ms}", "within 300ms");
}

#[test]
fn an_answer_has_so_long_to_begin() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        let (_, outcome) = wire.ending();
        Ok(format!("{:?}", outcome.is_ok()))
    });
    gives_up(
        &world,
        "timeouts: {firstByte: 300ms}",
        "did not begin to answer within 300ms",
    );
    // Upstream was cancelled with it.
    reports.recv().unwrap();
}

/// The clock runs from the request's end: a client that takes its time is not the provider's fault.
#[test]
fn a_slow_request_is_no_slow_answer() {
    let world = World::new();
    let _seen = obliging(&world);
    let dialer = under(&world, "timeouts: {firstByte: 2s, idle: 2s, connect: 20s}");
    let mut wire: Wire<TlsStream> = openai(&world, &dialer);
    let request = post("/v1/files", CHAT_BODY);
    let (first, second) = request.split_at(request.len() - 5);
    wire.send(first).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(wire.exchange(second).unwrap().head.status(), 200);
    drop(wire);
    dialer.finish();
}

#[test]
fn a_stream_may_be_silent_for_so_long() {
    const EVENT: &str = "data: {\"model\":\"gpt-4o\",\"choices\":[]}\n\n";
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk(EVENT)?;
        let _until_weir_gives_up = wire.ending();
        Ok(String::new())
    });
    let dialer = under(&world, "timeouts: {idle: 300ms}");
    let request = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
    let answer = openai(&world, &dialer).exchange(post(CHAT, request)).unwrap();
    let text = answer.text();
    let data = text
        .strip_prefix(EVENT)
        .and_then(|rest| rest.strip_prefix("data: "))
        .unwrap();
    let error: serde_json::Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(code(&error), "weir_upstream_truncated");
    assert!(text.contains("timeouts.idle"), "{text}");
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "truncated",
        "weir.error.code": "weir_upstream_truncated",
    }));
}
