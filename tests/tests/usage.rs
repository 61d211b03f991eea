//! Tokens counted equal the provider's, whatever the answer's form and however it ended.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use serde_json::{Value, json};
use weir_tests::world::World;
use weir_tests::world::run::Finished;

const CHAT: &str = "https://api.openai.com/v1/chat/completions";
const MESSAGES: &str = "https://api.anthropic.com/v1/messages";

/// Runs curl once under Weir. The prompt has four words: 13 tokens of input and seven of output.
fn ask(world: &World, url: &str, model: &str, more: &Value, options: &[&str]) -> Finished {
    let mut body =
        json!({"model": model, "messages": [{"role": "user", "content": "count these four words"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body.as_object_mut().unwrap().insert(key.clone(), value.clone());
    }
    let body = body.to_string();
    let mut command = vec!["curl", "-sSN", "--max-time", "60"];
    command.extend(options);
    command.extend(["-H", "Content-Type: application/json", "-d", &body, url]);
    world.weir().run(&command)
}

fn counted(finished: &Finished, input: u64, output: u64) {
    finished.only_exchange().assert(&json!({
        "gen_ai.usage.input_tokens": input,
        "gen_ai.usage.output_tokens": output,
        "weir.usage": "read",
        "weir.outcome": "completed",
    }));
}

#[test]
fn every_content_coding_is_read_and_passed_on_as_it_was() {
    let world = World::new();
    for coding in ["gzip", "br", "zstd", "deflate"] {
        for stream in [false, true] {
            let more = json!({"stream": stream});
            let finished =
                ask(&world, CHAT, &format!("mock-{coding}"), &more, &["--compressed"]).assert_exit(0);
            counted(&finished, 13, 7);
            assert!(finished.stdout.contains("words"), "{coding}: {}", finished.stdout);
            assert!(
                !stream || finished.stdout.ends_with("data: [DONE]\n\n"),
                "{coding}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn any_split_of_the_bytes_is_read() {
    let world = World::new();
    for model in [
        "mock-split",
        "mock-split-crlf",
        "mock-split-cr",
        "mock-split-nospace-comments",
        "mock-gzip-split",
    ] {
        for url in [CHAT, MESSAGES] {
            let finished =
                ask(&world, url, model, &json!({"stream": true}), &["--compressed"]).assert_exit(0);
            counted(&finished, 13, 7);
        }
    }
}

#[test]
fn usage_that_comes_with_zeros_first_is_replaced_and_not_added() {
    let world = World::new();
    for url in [CHAT, MESSAGES] {
        let more = json!({"stream": true, "stream_options": {"include_usage": true}});
        let finished = ask(&world, url, "mock-usage-zero-first", &more, &[]).assert_exit(0);
        counted(&finished, 13, 7);
    }
}

#[test]
fn the_usage_event_that_weir_asked_for_is_stripped_and_the_clients_own_is_not() {
    let world = World::new();
    let finished = ask(&world, CHAT, "gpt-4o-mini", &json!({"stream": true}), &[]).assert_exit(0);
    counted(&finished, 13, 7);
    let told = &finished.stdout;
    assert!(
        !told.contains(r#""choices":[]"#) && !told.contains("usage"),
        "{told}"
    );
    let upstream = world.provider().all().pop().unwrap();
    assert_eq!(
        upstream.json().pointer("/stream_options/include_usage"),
        Some(&json!(true))
    );

    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let finished = ask(&world, CHAT, "gpt-4o-mini", &more, &[]).assert_exit(0);
    counted(&finished, 13, 7);
    assert!(
        finished
            .stdout
            .contains(r#""choices":[],"usage":{"prompt_tokens":13"#),
        "{}",
        finished.stdout
    );
}

#[test]
fn include_usage_is_spliced_in_and_every_other_byte_stays() {
    let world = World::new();
    // Odd spacing, key order and escapes: a re-serialisation would show.
    let body = "{ \"stream\" :true,\n\"model\":\"gpt-4o-mini\", \"messages\":[{\"content\":\"\\u0041 b\",\"role\":\"user\"}] , \"seed\":1.0 }";
    let command = [
        "curl",
        "-sSN",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
        CHAT,
    ];
    world.weir().run(&command).assert_exit(0);
    let sent = String::from_utf8(world.provider().all().pop().unwrap().body_bytes()).unwrap();
    let added = sent.replacen("\"stream_options\":{\"include_usage\":true}", "", 1);
    assert_ne!(added, sent, "no include_usage in {sent}");
    let without_comma: String = added.chars().filter(|character| *character != ',').collect();
    let original: String = body.chars().filter(|character| *character != ',').collect();
    assert_eq!(without_comma, original);
}

#[test]
fn cached_and_reasoning_tokens_are_told_apart() {
    let world = World::new();
    for stream in [false, true] {
        for (url, model) in [(CHAT, "mock-cached-reasoning"), (MESSAGES, "mock-cached")] {
            let finished = ask(&world, url, model, &json!({"stream": stream}), &[]).assert_exit(0);
            let openai = url == CHAT;
            // 1,024 read from the cache and 512 written to it: all of it is input, for either provider.
            counted(&finished, 13 + 1024 + 512, if openai { 7 + 64 } else { 7 });
            let creation = if openai { Value::Null } else { json!(512) };
            let line = finished.only_exchange();
            line.assert(&json!({"gen_ai.usage.cache_read.input_tokens": 1024}));
            let logged = line
                .get("gen_ai.usage.cache_creation.input_tokens")
                .filter(|value| **value != json!(0));
            assert_eq!(logged.unwrap_or(&Value::Null), &creation);
            if openai {
                line.assert(&json!({"gen_ai.usage.reasoning.output_tokens": 64}));
            }
        }
    }
}

#[test]
fn cost_follows_the_price_list_and_an_unknown_model_has_none() {
    let world = World::new();
    let finished = ask(&world, CHAT, "gpt-4o", &json!({}), &[]).assert_exit(0);
    let cost = finished
        .only_exchange()
        .get("weir.cost_usd")
        .and_then(Value::as_f64)
        .unwrap();
    // $2.50 and $10 per million tokens.
    assert!((cost - (13.0 * 2.5e-6 + 7.0 * 10e-6)).abs() < 1e-12, "{cost}");
    let finished = ask(&world, CHAT, "mock-slow", &json!({}), &[]).assert_exit(0);
    finished
        .only_exchange()
        .assert(&json!({"weir.cost_usd": null, "weir.usage": "read"}));
    assert!(
        finished.stderr.contains("unpriced"),
        "the table has to say so:\n{}",
        finished.stderr
    );
}

#[test]
fn a_stream_that_reports_no_usage_is_unread_and_an_error_has_none() {
    let world = World::new();
    let finished = ask(&world, CHAT, "mock-nousage", &json!({"stream": true}), &[]).assert_exit(0);
    finished
        .only_exchange()
        .assert(&json!({"weir.usage": "unread", "weir.outcome": "completed"}));
    let finished = ask(&world, CHAT, "mock-429", &json!({"stream": true}), &["-i"]).assert_exit(0);
    assert!(
        finished.stdout.to_lowercase().contains("retry-after: 1"),
        "{}",
        finished.stdout
    );
    finished.only_exchange().assert(&json!({
        "weir.usage": "none",
        "http.response.status_code": 429,
        "weir.outcome": "completed",
        "weir.error.code": null,
    }));
}

#[test]
fn anthropic_input_is_counted_once_from_a_stream_that_breaks_off() {
    let world = World::new();
    let finished = ask(&world, MESSAGES, "mock-truncated", &json!({"stream": true}), &[]);
    // message_start came, message_delta did not: its input is known, and the output so far.
    finished.only_exchange().assert(&json!({
        "gen_ai.usage.input_tokens": 13,
        "weir.usage": "read",
        "weir.outcome": "truncated",
    }));
}

#[test]
fn the_table_adds_up_the_run() {
    let world = World::new();
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"count these four words"}]}"#;
    let script = format!("for i in 1 2 3; do curl -sSf -o /dev/null -d '{body}' {CHAT} || exit 1; done");
    let finished = world.weir().run(&["sh", "-c", &script]).assert_exit(0);
    assert_eq!(finished.access_log.len(), 3);
    let row = finished
        .stderr
        .lines()
        .find(|line| line.contains("gpt-4o"))
        .unwrap_or_default();
    let fields: Vec<&str> = row.split_whitespace().collect();
    // requests, errors, input, cached, output
    assert!(fields.join(" ").contains("3 0 39 0 21"), "{}", finished.stderr);
}
