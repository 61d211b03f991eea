//! Providers whose answers are broken, endless, or larger than they look.

use std::io::Write;

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, configuration, provider};
use weir_tests::world::World;
use weir_tests::world::servers::Reports;

use super::{finish, openai};

fn scripted(world: &World) -> Dialer<'_> {
    Dialer::start(world.bare_weir().configuration(&configuration::scripted(world)))
}

/// Answers a chat completion with these bytes under these headers, and all else with an empty object.
fn answering(world: &World, headers: &'static str, body: Vec<u8>) -> Reports {
    provider::start(world, move |mut wire: Served| {
        while let Ok(request) = wire.whole() {
            if request.head.start.contains("/chat/completions") {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ))?;
                wire.send(&body)?;
            } else {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
            }
        }
        Ok(String::new())
    })
}

fn chat(body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const PLAIN: &str = r#"{"model":"gpt-4o","messages":[]}"#;
const STREAM: &str = r#"{"model":"gpt-4o","messages":[],"stream":true}"#;

fn gzip(bytes: &[u8], times: usize) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..times {
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap()
}

/// What Weir cannot read passes all the same, byte for byte, and is booked as unread.
#[test]
fn an_encoding_that_is_not_what_it_says() {
    for body in [
        &b"this is no gzip"[..],
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 but no deflate after its head",
        b"",
    ] {
        let world = World::new();
        let _reports = answering(
            &world,
            "Content-Type: application/json\r\nContent-Encoding: gzip",
            body.to_vec(),
        );
        let dialer = scripted(&world);
        let mut wire = openai(&world, &dialer);
        assert_eq!(wire.exchange(chat(PLAIN)).unwrap().body, body);
        drop(wire);
        let lines = dialer.running().wait_for_exchanges(1);
        lines
            .first()
            .unwrap()
            .assert(&json!({"weir.outcome": "completed", "weir.usage": "unread"}));
        finish(&world, dialer, "/v1/models");
    }
}

/// Where Weir has asked for an event that it has to take out again, and the stream cannot be read: it ends as a broken one.
#[test]
fn a_stream_that_cannot_be_decoded() {
    let world = World::new();
    let body = b"this is no gzip, and long enough to be seen to be none".to_vec();
    let _reports = answering(
        &world,
        "Content-Type: text/event-stream\r\nContent-Encoding: gzip",
        body,
    );
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    let answer = wire.exchange(chat(STREAM)).unwrap();
    assert!(
        answer.text().contains("weir_upstream_truncated"),
        "the client has to see that it broke off: {}",
        answer.text()
    );
    drop(wire);
    let lines = dialer.running().wait_for_exchanges(1);
    lines
        .first()
        .unwrap()
        .assert(&json!({"weir.outcome": "truncated", "weir.usage": "unread"}));
    finish(&world, dialer, "/v1/models");
}

/// A few hundred kilobytes that unpack to a quarter of a gigabyte: read in passing, held nowhere.
#[test]
fn an_answer_that_unpacks_to_more_than_memory_allows() {
    let megabyte = vec![b' '; 1 << 20];
    for (headers, request) in [
        ("Content-Type: application/json\r\nContent-Encoding: gzip", PLAIN),
        ("Content-Type: text/event-stream\r\nContent-Encoding: gzip", PLAIN),
        (
            "Content-Type: text/event-stream\r\nContent-Encoding: gzip",
            r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        let world = World::new();
        let bomb = gzip(&megabyte, 256);
        let _reports = answering(&world, headers, bomb.clone());
        let dialer = scripted(&world);
        let mut wire = openai(&world, &dialer);
        assert!(
            wire.exchange(chat(request)).unwrap().body == bomb,
            "passed as it came"
        );
        drop(wire);
        finish(&world, dialer, "/v1/models");
    }
}

/// Where it has to be unpacked on its way, the client's pace sets Weir's.
#[test]
fn a_stream_that_unpacks_to_more_than_memory_allows() {
    let world = World::new();
    let event = format!("data: {{\"x\":\"{}\"}}\n\n", "weir ".repeat(200_000));
    let bomb = gzip(event.as_bytes(), 64);
    let _reports = answering(
        &world,
        "Content-Type: text/event-stream\r\nContent-Encoding: gzip",
        bomb,
    );
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    let answer = wire.exchange(chat(STREAM)).unwrap();
    assert_eq!(answer.head.header("content-encoding"), None);
    assert_eq!(answer.body.len(), 64 * event.len());
    drop(wire);
    finish(&world, dialer, "/v1/models");
}

/// Events, lines and JSON strings without end, as fast as they are taken: the client leaves, and all that it cost is gone with it.
#[test]
fn a_stream_without_end() {
    for piece in [
        "data: {\"choices\":[]}\n\n",
        "data: and no line end ever ",
        "\n\n\n\n\n\n\n\n",
        ": a comment\n",
        "{\"usage\":[[[[",
    ] {
        let world = World::new();
        let piece = piece.repeat(1000);
        let reports = provider::start(&world, move |mut wire: Served| {
            let request = wire.whole()?;
            if !request.head.start.contains("/chat/completions") {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
                return Ok(String::new());
            }
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            while wire.send_chunk(&piece).is_ok() {}
            Ok("cancelled".to_owned())
        });
        let dialer = scripted(&world);
        let mut wire = openai(&world, &dialer);
        wire.send(chat(
            r#"{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        ))
        .unwrap();
        wire.head().unwrap();
        wire.take(16 << 20).unwrap();
        drop(wire);
        assert_eq!(reports.recv().unwrap(), "cancelled");
        let lines = dialer.running().wait_for_exchanges(1);
        lines
            .first()
            .unwrap()
            .assert(&json!({"weir.outcome": "client_gone", "weir.stream": true}));
        finish(&world, dialer, "/v1/models");
    }
}

/// The same where Weir takes an event out: a line without end can be held up to a limit only.
#[test]
fn a_line_without_end_where_an_event_is_to_be_taken_out() {
    let world = World::new();
    let body = "data: and no line end ever ".repeat(3_000_000).into_bytes();
    let length = body.len();
    let _reports = answering(&world, "Content-Type: text/event-stream", body);
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    assert_eq!(wire.exchange(chat(STREAM)).unwrap().body.len(), length);
    drop(wire);
    finish(&world, dialer, "/v1/models");
}
