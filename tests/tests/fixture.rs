//! The fixture itself: the mock and the world are trusted by every other test.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use weir_tests::mock::Ending;
use weir_tests::world::{KEY, World};

const CHAT: &str = "https://provider.example/v1/chat/completions";

fn curl(world: &World, arguments: &[&str]) -> String {
    let output = world
        .outside("curl")
        .args(["-sS", "--max-time", "60"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn body(model: &str, rest: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"one two"}}]{rest}}}"#)
}

#[test]
fn the_mock_answers_and_records_over_both_protocols() {
    let world = World::new();
    let authorization = format!("AuthorIZation: Bearer {KEY}");
    for (version, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
        let sent = body("gpt-4o-mini", "");
        let text = curl(
            &world,
            &[
                version,
                "-H",
                &authorization,
                "-H",
                "Content-Type: application/json",
                "-d",
                &sent,
                CHAT,
            ],
        );
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            answer.pointer("/choices/0/message/content").unwrap(),
            "The mock heard: one two"
        );
        assert_eq!(answer.pointer("/usage/prompt_tokens").unwrap(), 11);
        let record = world
            .provider()
            .wait_until(|all| all.iter().any(|r| r.protocol == protocol))
            .unwrap();
        let record = record.last().unwrap().clone();
        assert_eq!(record.body_bytes(), sent.as_bytes());
        assert_eq!(record.server_name.as_deref(), Some("provider.example"));
    }
    let first = world.provider().all().remove(0);
    let names: Vec<&str> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Host",
            "User-Agent",
            "Accept",
            "AuthorIZation",
            "Content-Type",
            "Content-Length"
        ]
    );
}

#[test]
fn the_mock_streams_as_documented() {
    let world = World::new();
    let authorization = format!("Authorization: Bearer {KEY}");
    let plain = curl(
        &world,
        &[
            "-H",
            &authorization,
            "-d",
            &body("gpt-4o", r#","stream":true"#),
            CHAT,
        ],
    );
    assert!(
        plain.ends_with("data: [DONE]\n\n") && !plain.contains("usage"),
        "{plain}"
    );
    let counted = body(
        "gpt-4o",
        r#","stream":true,"stream_options":{"include_usage":true}"#,
    );
    let with_usage = curl(&world, &["-H", &authorization, "-d", &counted, CHAT]);
    assert!(
        with_usage.contains(r#""usage":null"#) && with_usage.contains(r#""choices":[],"usage":{"#),
        "{with_usage}"
    );
    for coding in ["gzip", "br", "zstd", "deflate"] {
        let request = body(&format!("mock-{coding}-split"), r#","stream":true"#);
        let text = curl(
            &world,
            &["--compressed", "-H", &authorization, "-d", &request, CHAT],
        );
        assert!(text.ends_with("data: [DONE]\n\n"), "{coding}: {text}");
    }
}

#[test]
fn the_mock_sees_a_client_leave() {
    let world = World::new();
    let authorization = format!("Authorization: Bearer {KEY}");
    for version in ["--http1.1", "--http2"] {
        let request = body("mock-endless", r#","stream":true"#);
        let mut client = world
            .outside("curl")
            .args(["-sSN", version, "-H", &authorization, "-d", &request, CHAT])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let open = |all: &[weir_tests::mock::Record]| all.last().is_some_and(|r| r.sent > 100_000);
        // Somebody has to read, or the stream stands still.
        let mut output = client.stdout.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        world.provider().wait_until(open).unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        let gone =
            |all: &[weir_tests::mock::Record]| all.last().is_some_and(|r| r.ending == Ending::ClientGone);
        assert!(
            world.provider().wait_until(gone).is_some(),
            "{version}: {:?}",
            world.provider().all()
        );
    }
}
