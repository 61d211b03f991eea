//! HTTP/1.1 as it may be used: answers without bodies, interim answers, switched protocols, connections used again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, Signal, configuration, provider};
use weir_tests::world::World;

use super::{CHAT_BODY, openai, post};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
}

fn answer(wire: &mut Served, head: &str, body: &str) -> io::Result<()> {
    wire.send(format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn answers_without_a_body_leave_the_connection_in_order() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let mut paths = Vec::new();
        while let Ok(request) = wire.whole() {
            let line = request.head.start;
            match line.as_str() {
                // A length that announces what a GET would bring.
                "HEAD /v1/models HTTP/1.1" => {
                    wire.send("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 1234\r\n\r\n")?
                }
                "DELETE /v1/files/f HTTP/1.1" => {
                    wire.send("HTTP/1.1 204 No Content\r\nx-Deleted: f\r\n\r\n")?
                }
                "GET /v1/files/f HTTP/1.1" => {
                    wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n")?
                }
                _ => answer(&mut wire, "200 OK", "ordinary")?,
            }
            paths.push(line);
        }
        Ok(paths.len().to_string())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send("HEAD /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
        .unwrap();
    let head = wire.head().unwrap();
    assert_eq!(
        (head.status(), head.header("content-length")),
        (200, Some("1234"))
    );
    assert_eq!(wire.exchange(get("/v1/models")).unwrap().text(), "ordinary");
    let deleted = wire
        .exchange("DELETE /v1/files/f HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
        .unwrap();
    assert_eq!(
        (deleted.head.status(), deleted.head.header("x-deleted")),
        (204, Some("f"))
    );
    assert_eq!(deleted.head.header("content-length"), None, "{:?}", deleted.head);
    let unchanged = wire.exchange(get("/v1/files/f")).unwrap();
    assert_eq!(
        (unchanged.head.status(), unchanged.head.header("etag")),
        (304, Some("\"e\""))
    );
    assert_eq!(wire.exchange(get("/v1/models")).unwrap().text(), "ordinary");
    drop(wire);
    // All five by one connection: neither side was closed in between.
    assert_eq!(reports.recv().unwrap(), "5");
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), 5);
    for line in &finished.access_log {
        line.assert(&json!({"weir.outcome": "completed", "weir.usage": "none"}));
    }
}

#[test]
fn a_client_may_wait_to_be_told_to_continue() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let head = wire.head()?;
        if head.header("expect").is_some() {
            wire.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = wire.body(&head)?;
        answer(&mut wire, "200 OK", "{}")?;
        wire.rest()?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let request = post("/v1/responses", CHAT_BODY);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    wire.send(format!("{head}\r\nExpect: 100-continue\r\n\r\n"))
        .unwrap();
    assert_eq!(wire.head().unwrap().status(), 100);
    wire.send(body).unwrap();
    assert_eq!(wire.whole().unwrap().head.status(), 200);
    drop(wire);
    assert_eq!(reports.recv().unwrap(), CHAT_BODY);
    dialer.finish();
}

/// A switched protocol: whatever is said then passes, both ways, in any order, until both sides have ended.
#[test]
fn a_switched_protocol_is_passed_through() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let head = wire.head()?;
        let asked = (
            head.header("upgrade").map(str::to_owned),
            head.header("connection").map(str::to_owned),
        );
        // Bytes of the new protocol right behind the head, and no text at that.
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nsec-WebSocket-Accept: a\r\n\r\n\x00\xffGARBAGE\r\n\r\n")?;
        let said = wire.take(6)?;
        wire.send(&said)?;
        let (rest, _) = wire.ending();
        Ok(format!("{asked:?} {said:?} {}", rest.len()))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send(
        "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    )
    .unwrap();
    let head = wire.head().unwrap();
    assert_eq!(head.status(), 101);
    assert_eq!(head.names(), ["Connection", "Upgrade", "sec-WebSocket-Accept"]);
    assert_eq!(wire.take(13).unwrap(), b"\x00\xffGARBAGE\r\n\r\n");
    wire.send(b"\x81\x01\x00GET").unwrap();
    assert_eq!(wire.take(6).unwrap(), b"\x81\x01\x00GET");
    wire.send(b"and more").unwrap();
    drop(wire);
    assert_eq!(
        reports.recv().unwrap(),
        r#"(Some("websocket"), Some("Upgrade")) [129, 1, 0, 71, 69, 84] 8"#
    );
    dialer.running().wait_for_exchanges(1);
    let finished = dialer.finish();
    finished
        .only_exchange()
        .assert(&json!({"http.response.status_code": 101, "url.path": "/v1/realtime"}));
}

#[test]
fn a_switch_that_nobody_asked_for_is_an_error() {
    let world = World::new();
    let _reports = provider::start(&world, |mut wire: Served| {
        wire.whole()?;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")?;
        let _ = wire.ending();
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let answer = openai(&world, &dialer).exchange(get("/v1/models")).unwrap();
    assert_eq!(
        (answer.head.status(), super::code(&answer.json())),
        (502, "weir_upstream_invalid")
    );
    dialer.finish();
}

#[test]
fn requests_may_be_sent_before_their_answers() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let mut paths = Vec::new();
        while let Ok(request) = wire.whole() {
            let path = request
                .head
                .start
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            answer(&mut wire, "200 OK", &path)?;
            paths.push(path);
        }
        Ok(paths.concat())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let all = [
        get("/v1/1"),
        post("/v1/chat/completions", CHAT_BODY),
        get("/v1/3"),
        post("/v1/files", "x"),
        get("/v1/5"),
    ];
    wire.send(all.concat()).unwrap();
    for path in ["/v1/1", "/v1/chat/completions", "/v1/3", "/v1/files", "/v1/5"] {
        assert_eq!(wire.whole().unwrap().text(), path);
    }
    drop(wire);
    assert_eq!(
        reports.recv().unwrap(),
        "/v1/1/v1/chat/completions/v1/3/v1/files/v1/5"
    );
    assert_eq!(dialer.finish().access_log.len(), 5);
}

#[test]
fn a_connection_that_the_provider_closed_is_opened_again() {
    let world = World::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let reports = provider::start(&world, move |mut wire: Served| {
        counted.fetch_add(1, Ordering::Relaxed);
        wire.whole()?;
        // It says that it closes, or it does not; the client's own connection stays.
        if counted.load(Ordering::Relaxed) == 1 {
            answer(&mut wire, "200 OK\r\nConnection: close", "said")?;
        } else {
            answer(&mut wire, "200 OK", "unsaid")?;
        }
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let first = wire.exchange(get("/v1/models")).unwrap();
    assert_eq!(first.text(), "said");
    let mut wire = if first.head.header("connection") == Some("close") {
        openai(&world, &dialer)
    } else {
        wire
    };
    reports.recv().unwrap();
    for _ in 0..3 {
        assert_eq!(wire.exchange(get("/v1/models")).unwrap().text(), "unsaid");
        // Closed for good before the next.
        reports.recv().unwrap();
    }
    drop(wire);
    assert_eq!(connections.load(Ordering::Relaxed), 4);
    assert_eq!(dialer.finish().access_log.len(), 4);
}

#[test]
fn an_answer_may_come_before_the_request_is_complete() {
    let world = World::new();
    let answered = Signal::default();
    let server_answered = answered.clone();
    let _reports = provider::start(&world, move |mut wire: Served| {
        wire.head()?;
        answer(
            &mut wire,
            "413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close",
            "{\"error\":{}}",
        )?;
        // Open until the client has its answer: a close with unread bytes would be a reset that overtakes it.
        server_answered.wait();
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send("POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 1000000\r\n\r\nonly the beginning").unwrap();
    let refused = wire.whole().unwrap();
    assert_eq!(
        (refused.head.status(), refused.text().as_str()),
        (413, "{\"error\":{}}")
    );
    answered.give();
    drop(wire);
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"http.response.status_code": 413}));
}
