//! Real clients, unmodified: each gets its answer without a key, and Weir accounts for it.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::net::UdpSocket;
use std::process::Stdio;

use serde_json::json;
use weir_tests::world::binaries::{go_client, java_program, node_program, python, python_program};
use weir_tests::world::run::Finished;
use weir_tests::world::wait::PATIENCE;
use weir_tests::world::{KEY, ORIGINAL, World};

const TEXT: &str = "The mock heard: What does a weir do?\n";

/// What OpenAI's gpt-4o-mini takes for the question above: 5 words, 9 of overhead; 8 words of answer.
const INPUT: u64 = 14;
const OUTPUT: u64 = 8;

fn path(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs a client plain and streaming, and checks the text, the access log and what reached the provider.
fn openai_client(command: &[&str]) {
    let world = World::new();
    for stream in [false, true] {
        let mut command = command.to_vec();
        if stream {
            command.push("stream");
        }
        let finished = world.weir().run(&command).assert_exit(0);
        assert_eq!(finished.stdout, TEXT, "{}", finished.stderr);
        assert_openai(&finished, stream);
        let record = world.provider().all().pop().unwrap();
        assert_eq!(
            record.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(record.server_name.as_deref(), Some("provider.example"));
    }
}

fn assert_openai(finished: &Finished, stream: bool) {
    let line = finished.only_exchange();
    line.assert(&json!({
        "k8s.namespace.name": "default",
        "weir.backend": "default/openai",
        "server.address": "api.openai.com",
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.usage.input_tokens": INPUT,
        "gen_ai.usage.output_tokens": OUTPUT,
        "weir.usage": "read",
        "weir.stream": stream,
        "weir.outcome": "completed",
        "weir.error.code": null,
    }));
    // gpt-4o-mini: $0.15 and $0.60 per million tokens.
    let cost = INPUT as f64 * 0.15e-6 + OUTPUT as f64 * 0.60e-6;
    let logged = line
        .get("weir.cost_usd")
        .and_then(serde_json::Value::as_f64)
        .unwrap();
    assert!((logged - cost).abs() < 1e-12, "{logged} instead of {cost}");
}

fn curl(version: &str, protocol: &str) {
    let world = World::new();
    for stream in [false, true] {
        let body = json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "What does a weir do?"}],
            "stream": stream,
        });
        let body = body.to_string();
        let url = "https://api.openai.com/v1/chat/completions";
        let written = "\n%{http_version}";
        let command = [
            "curl",
            "-sSfN",
            version,
            "-w",
            written,
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            url,
        ];
        let finished = world.weir().run(&command).assert_exit(0);
        assert_openai(&finished, stream);
        let (answer, version) = finished.stdout.rsplit_once('\n').unwrap();
        assert_eq!(version, protocol);
        assert!(answer.contains("heard:"), "{answer}");
        if stream {
            assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
            assert!(
                !answer.contains(r#""usage":{"#),
                "the usage that Weir asked for has to be stripped: {answer}"
            );
        }
        let record = world.provider().all().pop().unwrap();
        assert_eq!(
            record.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
    }
}

#[test]
fn curl_over_http1() {
    curl("--http1.1", "1.1");
}

#[test]
fn curl_over_http2() {
    curl("--http2", "2");
}

/// libcurl, asked for HTTP/3, tries QUIC and falls back by itself when that fails.
#[test]
fn curl_that_prefers_http3_falls_back() {
    let world = World::new();
    let quic = UdpSocket::bind((ORIGINAL, 443)).unwrap();
    let command = [path(python()), path(python_program("curl_http3.py"))];
    for stream in [false, true] {
        let mut command = command.to_vec();
        if stream {
            command.push("stream".to_owned());
        }
        let finished = world.weir().run(&command).assert_exit(0);
        assert_eq!(finished.stdout, TEXT, "{}", finished.stderr);
        assert_openai(&finished, stream);
        for told in [
            format!("* QUIC connect to {ORIGINAL} port 443 failed"),
            "* using HTTP/2".to_owned(),
        ] {
            assert!(finished.stderr.contains(&told), "{told} in {}", finished.stderr);
        }
        let record = world.provider().all().pop().unwrap();
        assert_eq!(
            record.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
    }
    let mut packet = [0; 2048];
    quic.set_nonblocking(true).unwrap();
    let nothing = quic.recv(&mut packet).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

    // The same program at the same address without Weir, to see that it speaks QUIC where it may.
    quic.set_nonblocking(false).unwrap();
    quic.set_read_timeout(Some(PATIENCE)).unwrap();
    let [program, argument] = command;
    let mut uncaptured = world
        .outside(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let received = quic.recv(&mut packet);
    uncaptured.kill().unwrap();
    uncaptured.wait().unwrap();
    received.unwrap();
    // RFC 9000, 17.2.2: the long header of an Initial packet, then the version, 1; its lowest four bits are protected.
    assert_eq!((packet[0] & 0xf0, &packet[1..5]), (0xc0, &[0, 0, 0, 1][..]));
}

#[test]
fn openai_python() {
    openai_client(&[&path(python()), &path(python_program("openai_sync.py"))]);
}

#[test]
fn openai_python_asynchronous() {
    openai_client(&[&path(python()), &path(python_program("openai_async.py"))]);
}

#[test]
fn python_requests() {
    openai_client(&[&path(python()), &path(python_program("requests_chat.py"))]);
}

#[test]
fn python_aiohttp() {
    openai_client(&[&path(python()), &path(python_program("aiohttp_chat.py"))]);
}

#[test]
fn java_http_client() {
    openai_client(&["java", &path(java_program("Chat.java"))]);
}

#[test]
fn openai_node() {
    openai_client(&["node", &path(node_program("chat.mjs"))]);
}

#[test]
fn openai_go() {
    openai_client(&[&path(go_client())]);
}

#[test]
fn openai_python_responses_embeddings_and_models() {
    let world = World::new();
    let command = [path(python()), path(python_program("openai_responses.py"))];
    let finished = world.weir().run(&command).assert_exit(0);
    let expected =
        format!("{TEXT}{TEXT}[0.5, -0.25, 0.125]\n['gpt-4o-mini', 'gpt-4o', 'text-embedding-3-small']\n");
    assert_eq!(finished.stdout, expected, "{}", finished.stderr);
    let [plain, stream, embeddings, models] = finished.access_log.as_slice() else {
        panic!("four exchanges expected: {:?}", finished.access_log)
    };
    for (line, streamed) in [(plain, false), (stream, true)] {
        line.assert(&json!({
            "url.path": "/v1/responses",
            "gen_ai.usage.input_tokens": INPUT,
            "gen_ai.usage.output_tokens": OUTPUT,
            "weir.usage": "read",
            "weir.stream": streamed,
            "weir.outcome": "completed",
        }));
    }
    embeddings.assert(&json!({
        "gen_ai.operation.name": "embeddings",
        "gen_ai.usage.input_tokens": INPUT,
        "weir.usage": "read",
    }));
    models.assert(&json!({"url.path": "/v1/models", "weir.usage": "none", "weir.outcome": "completed"}));
}

#[test]
fn anthropic_python() {
    let world = World::new();
    for stream in [false, true] {
        let mut command = vec![path(python()), path(python_program("anthropic_sync.py"))];
        if stream {
            command.push("stream".to_owned());
        }
        let finished = world.weir().run(&command).assert_exit(0);
        assert_eq!(finished.stdout, TEXT, "{}", finished.stderr);
        finished.only_exchange().assert(&json!({
            "weir.backend": "default/anthropic",
            "server.address": "api.anthropic.com",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            "gen_ai.usage.input_tokens": INPUT,
            "gen_ai.usage.output_tokens": OUTPUT,
            "weir.usage": "read",
            "weir.stream": stream,
            "weir.outcome": "completed",
        }));
        let record = world.provider().all().pop().unwrap();
        assert_eq!(record.header("x-api-key"), Some(KEY));
        assert_eq!(record.header("authorization"), None);
    }
}
