//! A client that leaves: upstream is cancelled at once, and the exchange settled once, with the usage so far.

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, Signal, configuration, http2, provider};
use weir_tests::world::World;

use super::{OPENAI, anthropic, message, openai};

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n";
const BODY: &str = r#"{"model":"claude-sonnet-4-5","stream":true,"max_tokens":9,"messages":[]}"#;

/// A provider that has begun a stream and says no more: it only waits for the other side to go.
fn begun(wire: &mut Served) -> std::io::Result<String> {
    wire.whole()?;
    wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    wire.send_chunk(START)?;
    let (said, _) = wire.ending();
    Ok(format!("cancelled after {} bytes", said.len()))
}

fn assert_gone(dialer: Dialer<'_>) {
    // Settled while the run goes on, not because it ends.
    let lines = dialer.running().wait_for_exchanges(1);
    lines.first().unwrap().assert(&json!({
        "weir.outcome": "client_gone",
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 125,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.output_tokens": 1,
        "weir.usage": "read",
    }));
    assert_eq!(dialer.finish().access_log.len(), 1);
}

#[test]
fn in_the_middle_of_a_stream() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire| begun(&mut wire));
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = anthropic(&world, &dialer);
    wire.send(message(BODY)).unwrap();
    wire.head().unwrap();
    assert_eq!(wire.chunk().unwrap().unwrap(), START.as_bytes());
    drop(wire);
    assert_eq!(reports.recv().unwrap(), "cancelled after 0 bytes");
    assert_gone(dialer);
}

#[test]
fn in_the_middle_of_one_stream_among_others() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire| begun(&mut wire));
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.anthropic.com").await;
        let request = http2::post("https://api.anthropic.com/v1/messages", BODY);
        let mut response = sender.send_request(request).await.unwrap();
        let frame = http_body_util::BodyExt::frame(response.body_mut())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), START.as_bytes());
        // Only this stream is reset; the connection stays.
        drop(response);
        let report = tokio::task::spawn_blocking(move || reports.recv().unwrap())
            .await
            .unwrap();
        assert_eq!(report, "cancelled after 0 bytes");
        dialer.running().wait_for_exchanges(1);
        assert!(!sender.is_closed());
    });
    assert_gone(dialer);
}

#[test]
fn before_there_is_an_answer() {
    let world = World::new();
    let asked = Signal::default();
    let server_asked = asked.clone();
    let reports = provider::start(&world, move |mut wire: Served| {
        wire.whole()?;
        server_asked.give();
        let _ = wire.ending();
        Ok("cancelled".to_owned())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = anthropic(&world, &dialer);
    wire.send(message(BODY)).unwrap();
    asked.wait();
    drop(wire);
    assert_eq!(reports.recv().unwrap(), "cancelled");
    let lines = dialer.running().wait_for_exchanges(1);
    lines.first().unwrap().assert(&json!({
        "weir.outcome": "client_gone",
        "http.response.status_code": null,
        "weir.usage": "none",
    }));
    assert_eq!(dialer.finish().access_log.len(), 1);
}

#[test]
fn in_the_middle_of_its_own_request() {
    let world = World::new();
    let half = Signal::default();
    let server_half = half.clone();
    let reports = provider::start(&world, move |mut wire: Served| {
        let head = wire.head()?;
        wire.take(5)?;
        server_half.give();
        Ok(format!("{}", wire.body(&head).is_err()))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    wire.send("POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 100\r\n\r\nbegun")
        .unwrap();
    half.wait();
    drop(wire);
    assert_eq!(
        reports.recv().unwrap(),
        "true",
        "a request that broke off must not arrive as a whole one"
    );
    dialer.running().wait_for_exchanges(1);
    let finished = dialer.finish();
    let outcome = finished.only_exchange().text("weir.outcome").to_owned();
    assert_eq!(outcome, "client_gone");
}
