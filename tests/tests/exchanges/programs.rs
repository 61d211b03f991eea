//! As programs make them: curl and the probe under `weir run`.

use serde_json::{Value, json};
use weir_tests::mock::{Ending, Record};
use weir_tests::noise;
use weir_tests::world::run::Finished;
use weir_tests::world::{KEY, World, configuration};

const CHAT: &str = "https://api.openai.com/v1/chat/completions";
const MESSAGES: &str = "https://api.anthropic.com/v1/messages";
const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;

fn body(model: &str, stream: bool) -> String {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

fn last(world: &World) -> Record {
    world.provider().all().pop().unwrap()
}

/// The answer's body, which is an error of the dialect with a code of Weir's.
fn error(finished: &Finished, status: u64, code: &str) -> Value {
    let answer: Value = serde_json::from_str(finished.stdout.trim())
        .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", finished.stdout, finished.stderr));
    assert_eq!(answer.pointer("/error/code"), Some(&json!(code)), "{answer}");
    assert!(
        answer
            .pointer("/error/message")
            .is_some_and(|message| message.as_str().unwrap().len() > 20),
        "{answer}"
    );
    finished
        .only_exchange()
        .assert(&json!({"http.response.status_code": status, "weir.error.code": code}));
    answer
}

#[test]
fn the_request_head_keeps_its_order_and_case() {
    let world = World::new();
    // Equal names stand together: hyper keeps them in one place, which RFC 9110 (section 5.3) allows.
    let headers = [
        "X-oDd-CaSe: one",
        "X-oDd-CaSe: two",
        "aUTHORIZATION: Bearer placeholder",
        "x-last: three  words",
    ];
    let mut command = vec!["curl", "-sSf", "--http1.1", "-d", BODY];
    for header in &headers {
        command.extend(["-H", header]);
    }
    command.push("https://api.openai.com/v1/chat/completions?a=%20b&c");
    world.weir().run(&command).assert_exit(0);
    let record = last(&world);
    assert_eq!(
        (record.protocol.as_str(), record.path.as_str()),
        ("HTTP/1.1", "/v1/chat/completions?a=%20b&c")
    );
    let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
    let kept: Vec<&str> = names
        .into_iter()
        .filter(|name| !name.eq_ignore_ascii_case("authorization"))
        .collect();
    let sent = [
        "Host",
        "User-Agent",
        "Accept",
        "X-oDd-CaSe",
        "X-oDd-CaSe",
        "x-last",
        "Content-Length",
        "Content-Type",
    ];
    assert_eq!(kept, sent);
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert!(!format!("{record:?}").contains("placeholder"));
    assert_eq!(record.body_bytes(), BODY.as_bytes());
}

#[test]
fn the_answers_head_keeps_its_order_and_case() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&["curl", "-sSfi", "--http1.1", "-d", BODY, CHAT])
        .assert_exit(0);
    let names: Vec<&str> = finished
        .stdout
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        names,
        [
            "Content-Type",
            "x-Request-ID",
            "openai-processing-MS",
            "Content-Length"
        ]
    );
}

#[test]
fn alt_svc_is_taken_away() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&["curl", "-sSfi", "https://api.openai.com/v1/models"])
        .assert_exit(0);
    assert!(
        !finished.stdout.to_lowercase().contains("alt-svc"),
        "{}",
        finished.stdout
    );
}

#[test]
fn bodies_arrive_unchanged_with_a_length_and_in_chunks() {
    let world = World::new();
    let mut bytes = Vec::new();
    let hash = noise::send(&mut bytes, 7, 8 << 20).unwrap();
    let file = world.write("body", bytes);
    let data = format!("@{}", file.display());
    for version in ["--http1.1", "--http2"] {
        for chunked in [false, true] {
            let mut command = vec!["curl", "-sS", version, "-o", "answer", "--data-binary", &data];
            if chunked {
                command.extend(["-H", "Transfer-Encoding: chunked"]);
            }
            command.push("https://api.openai.com/v1/mock/echo");
            world.weir().run(&command).assert_exit(0);
            let record = last(&world);
            assert_eq!(
                (record.body_length, record.body_sha256),
                (8 << 20, hash.clone()),
                "{version} {chunked}"
            );
            let mut answer = std::fs::File::open(world.path("answer")).unwrap();
            assert_eq!(
                noise::receive(&mut answer).unwrap(),
                (8 << 20, hash.clone()),
                "{version} {chunked}"
            );
        }
    }
}

#[test]
fn bodies_stream_in_both_directions_at_once() {
    let world = World::new();
    for version in ["--http1.1", "--http2"] {
        let url = "https://api.openai.com/v1/mock/echo";
        let mut running = world.weir().spawn(&[
            "curl", "-sSN", version, "-H", "Expect:", "-T", ".", "-X", "POST", url,
        ]);
        for word in ["first", "second", "third"] {
            // The next is sent only once the one before has come back: whoever buffered a body would stand still here.
            running.write_line(&format!("the {word} line"));
            running.wait_for_stdout(&format!("the {word} line\n"));
        }
        running
            .finish()
            .assert_exit(0)
            .only_exchange()
            .assert(&json!({"weir.outcome": "completed"}));
    }
}

#[test]
fn the_key_is_read_from_every_documented_field() {
    let world = World::new();
    for (provider, url, header, wanted) in [
        ("openai", CHAT, "authorization", format!("Bearer {KEY}")),
        ("anthropic", MESSAGES, "x-api-key", KEY.to_owned()),
    ] {
        for (field, value) in [
            ("Authorization", format!("Bearer {KEY}")),
            ("Authorization", KEY.to_owned()),
            ("apiKey", KEY.to_owned()),
        ] {
            let text = [
                configuration::authority(&world),
                configuration::backend(provider, field, &value),
            ]
            .join("---\n");
            world
                .bare_weir()
                .configuration(&text)
                .run(&[
                    "curl",
                    "-sSf",
                    "-d",
                    BODY.replace("gpt-4o-mini", "mock").as_str(),
                    url,
                ])
                .assert_exit(0);
            assert_eq!(
                last(&world).header(header),
                Some(wanted.as_str()),
                "{provider} {field}"
            );
        }
    }
}

/// While data flows without end; [`super::leaving`] has the silent ones.
#[test]
fn a_client_that_leaves_an_endless_stream_cancels_upstream() {
    let world = World::new();
    for version in ["--http1.1", "--http2"] {
        let request = body("mock-endless", true);
        let before = world.provider().all().len();
        let mut running = world.weir().spawn(&["sh"]);
        running.write_line(&format!(
            "curl -sSN {version} -d '{request}' {CHAT} | head -c 300"
        ));
        let gone = |all: &[Record]| {
            all.get(before)
                .is_some_and(|record| record.ending == Ending::ClientGone)
        };
        assert!(
            world.provider().wait_until(gone).is_some(),
            "{version}: {:?}",
            last(&world)
        );
        let lines = running.wait_for_exchanges(1);
        lines
            .first()
            .unwrap()
            .assert(&json!({"weir.outcome": "client_gone", "gen_ai.request.model": "mock-endless"}));
        running.write_line("exit 0");
        assert_eq!(running.finish().access_log.len(), 1, "settled once");
    }
}

#[test]
fn upstream_failures_have_the_dialects_error_and_a_stable_code() {
    let world = World::new();
    let refused = configuration::standard(&world).replace("port: 443", "port: 444");
    let silent = configuration::standard(&world).replace("provider.example", "nowhere.example");
    for (text, code) in [
        (refused, "weir_upstream_unreachable"),
        (silent, "weir_upstream_unreachable"),
    ] {
        for url in [CHAT, MESSAGES] {
            let finished = world
                .bare_weir()
                .configuration(&text)
                .run(&["curl", "-sS", "-d", BODY, url])
                .assert_exit(0);
            error(&finished, 502, code);
            finished
                .only_exchange()
                .assert(&json!({"weir.outcome": "upstream_error"}));
        }
    }
}

#[test]
fn an_untrusted_endpoint_never_sees_the_key() {
    let world = World::new();
    let impostor = world.impostor();
    let text = configuration::standard(&world).replace("provider.example", "impostor.example");
    let finished = world
        .bare_weir()
        .configuration(&text)
        .run(&["curl", "-sS", "-d", BODY, CHAT])
        .assert_exit(0);
    error(&finished, 502, "weir_upstream_untrusted");
    assert!(
        impostor.records().all().is_empty(),
        "{:?}",
        impostor.records().all()
    );
}

#[test]
fn without_an_endpoint_the_request_goes_to_the_original_destination() {
    let world = World::new();
    let text = configuration::without_endpoint("openai");
    world
        .bare_weir()
        .configuration(&text)
        .run(&["curl", "-sSf", "-d", BODY, CHAT])
        .assert_exit(0);
    let record = last(&world);
    assert_eq!(record.server_name.as_deref(), Some("api.openai.com"));
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
}

#[test]
fn errors_of_the_provider_pass_as_they_are() {
    let world = World::new();
    for (status, url) in [(500, CHAT), (429, CHAT), (529, MESSAGES), (404, CHAT)] {
        let model = if status == 404 {
            "no-such-model".to_owned()
        } else {
            format!("mock-{status}")
        };
        let request = body(&model, false);
        let written = "\n%{http_code}";
        let finished = world
            .weir()
            .run(&["curl", "-sS", "-w", written, "-d", &request, url])
            .assert_exit(0);
        let (answer, code) = finished.stdout.rsplit_once('\n').unwrap();
        assert_eq!(code, status.to_string());
        assert!(answer.contains("error") && !answer.contains("weir_"), "{answer}");
        finished
            .only_exchange()
            .assert(&json!({"weir.outcome": "completed", "weir.usage": "none"}));
    }
}

#[test]
fn a_hundred_requests_at_once_are_kept_apart() {
    let world = World::new();
    let script = format!(
        r#"for i in $(seq 100); do curl -sSf -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"'number$i'"}}]}}' {CHAT} | grep -q "number$i\"" || echo wrong $i & done; wait"#
    );
    let finished = world.weir().run(&["bash", "-c", &script]).assert_exit(0);
    assert_eq!(
        finished.stdout,
        "",
        "{}\n{:?}",
        finished.stderr,
        finished
            .access_log
            .iter()
            .filter(|line| line.text("weir.outcome") != "completed")
            .collect::<Vec<_>>()
    );
    assert_eq!(finished.access_log.len(), 100);
}
