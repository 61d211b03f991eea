//! Bodies stream both ways: each half is seen before the next is made.

use serde_json::json;
use weir_tests::captured::{Dialer, Signal, configuration, provider};
use weir_tests::mock::record::hexadecimal;
use weir_tests::noise::Noise;
use weir_tests::world::World;

use super::{openai, post};

/// What a provider adds to a stream where it was asked for usage.
const USAGE: &str = "data: {\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\n";

/// Whether the request asks for usage.
fn asks_for_usage(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body.pointer("/stream_options/include_usage") == Some(&json!(true))
}

/// A request of which the second half is sent once the provider has seen the first, and a stream of which the second event is
/// produced once the client has seen the first. On paths where Weir asks for usage it does so in the half that came late, and takes the event that comes of
/// it out again.
fn streams_both_ways(path: &'static str, framing: &str) {
    let world = World::new();
    let (half, event) = (Signal::default(), Signal::default());
    let (server_half, server_event) = (half.clone(), event.clone());
    let chunked = framing == "chunked";
    let halves = [
        r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","#,
        r#""content":"hi"}]}"#,
    ];
    let reports = provider::start(&world, move |mut wire| {
        let head = wire.head()?;
        let mut body = Vec::new();
        let chunked = head.header("transfer-encoding").is_some();
        while body.len() < halves[0].len() {
            let piece = if chunked {
                wire.chunk()?.unwrap_or_default()
            } else {
                wire.take(halves[0].len())?
            };
            body.extend(piece);
        }
        server_half.give();
        if chunked {
            while let Some(chunk) = wire.chunk()? {
                body.extend(chunk);
            }
        } else {
            body.extend(wire.take(halves[1].len())?);
        }
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk("data: {\"first\":1}\n\n")?;
        server_event.wait();
        wire.send_chunk("data: {\"second\":2}\n\n")?;
        if asks_for_usage(&body) {
            wire.send_chunk(USAGE)?;
        }
        wire.send_chunk("data: [DONE]\n\n")?;
        wire.send_chunk("")?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let how = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", halves.concat().len())
    };
    wire.send(format!(
        "POST {path} HTTP/1.1\r\nHost: api.openai.com\r\n{how}\r\n\r\n"
    ))
    .unwrap();
    let send = |wire: &mut weir_tests::captured::Wire<_>, half: &str| {
        if chunked {
            wire.send_chunk(half)
        } else {
            wire.send(half)
        }
        .unwrap();
    };
    send(&mut wire, halves[0]);
    half.wait();
    send(&mut wire, halves[1]);
    if chunked {
        wire.send_chunk("").unwrap();
    }
    let head = wire.head().unwrap();
    assert_eq!(head.status(), 200);
    let mut seen = Vec::new();
    while seen.len() < "data: {\"first\":1}\n\n".len() {
        seen.extend(wire.chunk().unwrap().unwrap());
    }
    event.give();
    seen.extend(wire.body(&head).unwrap());
    assert_eq!(
        String::from_utf8_lossy(&seen),
        "data: {\"first\":1}\n\ndata: {\"second\":2}\n\ndata: [DONE]\n\n"
    );
    drop(wire);
    let sent = reports.recv().unwrap();
    let sent: serde_json::Value =
        serde_json::from_str(&sent).unwrap_or_else(|error| panic!("{error}: {sent}"));
    assert_eq!(sent.pointer("/messages/0/content"), Some(&json!("hi")));
    let chat = path == "/v1/chat/completions";
    assert_eq!(asks_for_usage(sent.to_string().as_bytes()), chat);
    let output_tokens = if chat { json!(7) } else { json!(null) };
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "completed",
        "weir.stream": true,
        "gen_ai.usage.output_tokens": output_tokens,
    }));
}

/// More than Weir holds to see a request's end, and only there is it seen to be for a stream.
#[test]
fn a_long_request_is_asked_for_usage_at_its_end() {
    let world = World::new();
    let reports = provider::start(&world, move |mut wire| {
        let request = wire.whole()?;
        let asked = asks_for_usage(&request.body);
        let usage = if asked { USAGE } else { "" };
        let stream = format!("data: {{\"model\":\"gpt-4o-mini\",\"choices\":[]}}\n\n{usage}data: [DONE]\n\n");
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{stream}",
            stream.len()
        ))?;
        Ok(format!("{asked} {}", request.body.len()))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let prompt = "x".repeat(2 << 20);
    let body = format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{prompt}"}}],"stream":true}}"#
    );
    let answer = wire.exchange(post("/v1/chat/completions", &body)).unwrap();
    assert_eq!(
        answer.text(),
        "data: {\"model\":\"gpt-4o-mini\",\"choices\":[]}\n\ndata: [DONE]\n\n"
    );
    drop(wire);
    let added = r#","stream_options":{"include_usage":true}"#.len();
    assert_eq!(reports.recv().unwrap(), format!("true {}", body.len() + added));
    dialer.finish().only_exchange().assert(&json!({
        "weir.outcome": "completed",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
    }));
}

#[test]
fn in_chunks_where_the_request_may_be_changed() {
    streams_both_ways("/v1/chat/completions", "chunked");
}

#[test]
fn with_a_length_where_the_request_may_be_changed() {
    streams_both_ways("/v1/chat/completions", "length");
}

#[test]
fn in_chunks_where_the_request_is_only_read() {
    streams_both_ways("/v1/responses", "chunked");
}

#[test]
fn with_a_length_where_it_is_none_of_weirs_business() {
    streams_both_ways("/v1/fine_tuning/jobs", "length");
}

/// An unfinished event is the client's as soon as it is there: what Weir makes of it is Weir's business.
#[test]
fn half_an_event_is_passed_on_at_once() {
    let world = World::new();
    let seen = Signal::default();
    let server_seen = seen.clone();
    let reports = provider::start(&world, move |mut wire| {
        wire.whole()?;
        wire.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        wire.send_chunk("data: {\"hal")?;
        server_seen.wait();
        wire.send_chunk("f\":1}\n\ndata: [DONE]\n\n")?;
        wire.send_chunk("")?;
        Ok(String::new())
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let body = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}"#;
    wire.send(post("/v1/chat/completions", body)).unwrap();
    let head = wire.head().unwrap();
    assert_eq!(wire.chunk().unwrap().unwrap(), b"data: {\"hal");
    seen.give();
    assert_eq!(wire.body(&head).unwrap(), b"f\":1}\n\ndata: [DONE]\n\n");
    drop(wire);
    reports.recv().unwrap();
    dialer.finish();
}

/// Bodies that no parser of Weir's likes, each way, on paths that it reads and on others: not one byte may differ.
#[test]
fn bodies_pass_unchanged_whatever_they_hold() {
    let mut noise = vec![0; 1 << 20];
    Noise::new(7).fill(&mut noise);
    let strange = [
        noise,
        super::CHAT_BODY.as_bytes().to_vec(),
        b"{\"model\":\"gpt-4o\",\"model\":\"other\",\"stream\":false} trailing".to_vec(),
        b"\xef\xbb\xbf{\"stream\":true".to_vec(),
        b"data:x\r\r\n: c\r\ndata: {\"usage\":null}\n\n\n\ndata:[DONE]".to_vec(),
        Vec::new(),
    ];
    let world = World::new();
    let reports = provider::start(&world, move |mut wire| {
        // Each is sent back as the answer, as events where the request asks for it.
        let mut hashes = String::new();
        while let Ok(request) = wire.whole() {
            hashes += &hash(&request.body);
            let kind = request.head.header("x-answer").unwrap_or("application/json");
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            ))?;
            wire.send(&request.body)?;
        }
        Ok(hashes)
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    let mut hashes = String::new();
    for path in [
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/files",
    ] {
        for kind in [
            "application/json",
            "text/event-stream",
            "application/octet-stream",
        ] {
            for body in &strange {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: api.openai.com\r\nx-answer: {kind}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let answer = wire.exchange([head.as_bytes(), body].concat()).unwrap();
                assert_eq!(answer.body.len(), body.len(), "{path} {kind}");
                assert!(answer.body == *body, "{path} {kind}: changed");
                hashes += &hash(body);
            }
        }
    }
    drop(wire);
    assert!(reports.recv().unwrap() == hashes, "a request was changed");
    dialer.finish();
}

fn hash(bytes: &[u8]) -> String {
    use sha2::Digest;
    hexadecimal(&sha2::Sha256::digest(bytes))
}
