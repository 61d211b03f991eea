//! HTTP/2 on either side.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, configuration, http2, provider};
use weir_tests::world::{KEY, World};

use super::OPENAI;

#[test]
fn many_streams_at_once_are_kept_apart() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    http2::runtime().block_on(async {
        let sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let one = |number: usize| {
            let mut sender = sender.clone();
            async move {
                let stream = number.is_multiple_of(2);
                let body = json!({
                    "model": "mock-split",
                    "stream": stream,
                    "messages": [{"role": "user", "content": format!("number{number}")}],
                });
                let request = http2::post("https://api.openai.com/v1/chat/completions", body.to_string());
                let text = http2::text(sender.send_request(request).await.unwrap()).await;
                assert!(text.contains(&format!("number{number}\"")), "{number}: {text}");
                assert_eq!(text.contains("[DONE]"), stream, "{number}: {text}");
                assert!(!stream || !text.contains("\"usage\":{"), "{number}: {text}");
            }
        };
        join_all((0..200).map(one)).await;
    });
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), 200);
    for line in &finished.access_log {
        line.assert(
            &json!({"weir.outcome": "completed", "weir.usage": "read", "gen_ai.usage.input_tokens": 10}),
        );
    }
    let records = world.provider().all();
    assert!(records.iter().all(|record| record.protocol == "HTTP/2"));
}

/// A client that pauses costs nobody else anything, however many short events wait for it.
#[test]
fn a_client_that_reads_slowly_stops_no_other() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.anthropic.com").await;
        let endless = r#"{"model":"mock-endless","stream":true,"messages":[]}"#;
        let mut paused = Vec::new();
        for _ in 0..8 {
            let request = http2::post("https://api.anthropic.com/v1/messages", endless);
            let response = sender.send_request(request).await.unwrap();
            // Nobody reads on: all that there is room for on the way fills up.
            paused.push(response);
        }
        for _ in 0..20 {
            let request = http2::post("https://api.anthropic.com/v1/messages", super::CHAT_BODY);
            let response = sender.send_request(request).await.unwrap();
            assert!(http2::text(response).await.contains("The mock heard"));
        }
        for mut response in paused {
            for _ in 0..2000 {
                response.frame().await.unwrap().unwrap();
            }
        }
    });
    dialer.finish();
}

#[test]
fn a_provider_of_http1_is_spoken_to_in_http1() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let request = wire.whole()?;
        wire.send("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nAlt-Svc: h3=\":443\"\r\nx-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        wire.send_chunk("{}")?;
        wire.send_chunk("")?;
        wire.rest()?;
        Ok(format!("{} {:?}", request.head.start, request.head.headers))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let headers = http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let request = http2::post("https://api.openai.com/v1/responses?x=1", "{}");
        let response = sender.send_request(request).await.unwrap();
        let headers: Vec<String> = response.headers().keys().map(ToString::to_string).collect();
        assert_eq!(http2::text(response).await, "{}");
        headers
    });
    assert_eq!(headers, ["x-kept"]);
    let report = reports.recv().unwrap();
    assert!(report.starts_with("POST /v1/responses?x=1 HTTP/1.1 "), "{report}");
    for part in [
        r#"("host", "free.example")"#.to_owned(),
        r#"("content-length", "2")"#.to_owned(),
        format!(r#"("authorization", "Bearer {KEY}")"#),
    ] {
        assert!(
            report.to_lowercase().contains(&part.to_lowercase()),
            "no {part} in {report}"
        );
    }
    dialer.finish();
}

/// Trailers come through at the end of a body, both ways (RFC 9113, section 8.1).
#[test]
fn trailers_pass_both_ways() {
    let world = World::new();
    let server = http2::serve(&world, |request| async move {
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let told = trailers
            .get("x-checksum")
            .cloned()
            .unwrap_or(HeaderValue::from_static("none"));
        let answer = HeaderMap::from_iter([(http::HeaderName::from_static("x-checksum-heard"), told)]);
        let frames =
            [Frame::data(body.to_bytes()), Frame::trailers(answer)].map(Ok::<_, std::convert::Infallible>);
        http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/files"] {
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-checksum"),
                HeaderValue::from_static("abc"),
            )]);
            let frames = [
                Frame::data(Bytes::from("{\"model\":\"gpt-4o\"}")),
                Frame::trailers(trailers),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync();
            let request = http::Request::post(format!("https://api.openai.com{path}"))
                .body(body)
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            let whole = response.into_body().collect().await.unwrap();
            assert_eq!(
                whole
                    .trailers()
                    .and_then(|trailers| trailers.get("x-checksum-heard")),
                Some(&HeaderValue::from_static("abc")),
                "{path}"
            );
            assert_eq!(whole.to_bytes(), "{\"model\":\"gpt-4o\"}");
        }
    });
    drop(server);
    dialer.finish();
}
