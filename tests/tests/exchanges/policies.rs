//! What an AIPolicy lets through, and what it changes.

use std::sync::{Arc, Mutex};

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::wire::Whole;
use weir_tests::captured::{Dialer, configuration, provider};
use weir_tests::world::log::LogLine;
use weir_tests::world::{KEY, World};

use super::{CHAT_BODY, anthropic, code, message, openai, post};

const CHAT: &str = "/v1/chat/completions";

/// A policy for whatever the command does.
pub(super) fn policy(spec: &str) -> String {
    format!(
        "---\napiVersion: weir.dev/v1alpha1\nkind: AIPolicy\nmetadata: {{name: rules}}\nspec:\n  targetRefs: [{{kind: Workload}}]\n  {spec}\n"
    )
}

const FEW_MODELS: &str = "models: {allowed: ['gpt-4o*', 'claude-*'], denied: ['*-preview']}";

/// What a provider of the test's own has seen.
#[derive(Clone, Default)]
pub(super) struct Seen {
    connections: Arc<Mutex<u32>>,
    /// Of each request that came whole: its first line, and its body's length.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers every request by 200.
pub(super) fn obliging(world: &World) -> Seen {
    let seen = Seen::default();
    let noted = seen.clone();
    provider::start(world, move |mut wire: Served| {
        *noted.connections.lock().unwrap() += 1;
        while let Ok(request) = wire.whole() {
            let line = format!("{} {}", request.head.start, request.body.len());
            noted.requests.lock().unwrap().push(line);
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
        }
        Ok(String::new())
    });
    seen
}

/// The command, with a provider of the test's own and this policy.
pub(super) fn under<'a>(world: &'a World, spec: &str) -> Dialer<'a> {
    Dialer::start(
        world
            .bare_weir()
            .configuration(&(configuration::scripted(world) + &policy(spec))),
    )
}

fn assert_denied(answer: &Whole, wanted: &str, says: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.head.status(), code(&body)),
        (403, wanted),
        "{}",
        answer.text()
    );
    assert_eq!(answer.head.header("x-should-retry"), Some("false"));
    let text = body.pointer("/error/message").unwrap().to_string();
    assert!(
        text.contains(says) && text.contains("AIPolicy default/rules"),
        "{text}"
    );
}

fn denied(line: &LogLine, code: &str, model: Option<&str>) {
    line.assert(&json!({
        "weir.outcome": "denied",
        "weir.error.code": code,
        "http.response.status_code": 403,
        "gen_ai.request.model": model,
    }));
}

#[test]
fn only_permitted_models_reach_the_provider() {
    let world = World::new();
    let seen = obliging(&world);
    let dialer = under(&world, FEW_MODELS);
    let mut wire = openai(&world, &dialer);
    assert_eq!(wire.exchange(post(CHAT, CHAT_BODY)).unwrap().head.status(), 200);
    // On the same connection: what was refused cost nobody else anything.
    let o3 = CHAT_BODY.replace("gpt-4o-mini", "o3");
    assert_denied(
        &wire.exchange(post(CHAT, &o3)).unwrap(),
        "weir_model_denied",
        "`o3`",
    );
    let preview = CHAT_BODY.replace("gpt-4o-mini", "GPT-4o-Preview");
    assert_denied(
        &wire.exchange(post("/v1/responses", &preview)).unwrap(),
        "weir_model_denied",
        "`GPT-4o-Preview`",
    );
    assert_eq!(
        wire.exchange("GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
            .unwrap()
            .head
            .status(),
        200
    );
    drop(wire);
    let mut wire = anthropic(&world, &dialer);
    let answer = wire
        .exchange(message(r#"{"model":"gemini-2","messages":[]}"#))
        .unwrap();
    assert_denied(&answer, "weir_model_denied", "`gemini-2`");
    assert_eq!(
        answer.json().pointer("/error/type"),
        Some(&json!("permission_error"))
    );
    drop(wire);
    let lines = dialer.finish().access_log;
    assert_eq!(lines.len(), 5);
    denied(&lines[1], "weir_model_denied", Some("o3"));
    denied(&lines[2], "weir_model_denied", Some("GPT-4o-Preview"));
    denied(&lines[4], "weir_model_denied", Some("gemini-2"));
    assert_eq!(
        seen.requests(),
        [
            format!("POST {CHAT} HTTP/1.1 {}", CHAT_BODY.len()),
            "GET /v1/models HTTP/1.1 0".to_owned()
        ]
    );
}

/// A model that Weir reads otherwise than the provider does would be a way around.
#[test]
fn a_model_in_disguise_is_none() {
    let world = World::new();
    let seen = obliging(&world);
    let dialer = under(&world, FEW_MODELS);
    for body in [
        r#"{"messages":[]}"#,
        r#"{"model":"gpt-4o","model":"o3"}"#,
        r#"{"model":"o3","model":"gpt-4o"}"#,
        r#"{"model":"gpt-4o","mod\u0065l":"o3"}"#,
        r#"{"model":"gpt-4o","Model":"o3"}"#,
        r#"{"model":["gpt-4o"]}"#,
        r#"{"model":"gpt-4o","models":["o3"]}"#,
        "\u{feff}{\"model\":\"gpt-4o\"}",
        // Python's parser takes it.
        r#"{"model":"gpt-4o","temperature":NaN,"model":"o3"}"#,
        "model=gpt-4o",
        "",
    ] {
        let answer = openai(&world, &dialer).exchange(post(CHAT, body)).unwrap();
        assert_denied(
            &answer,
            "weir_model_denied",
            "names no model that could be read, or several",
        );
    }
    let gzip = post(CHAT, CHAT_BODY).replacen("\r\n", "\r\nContent-Encoding: gzip\r\n", 1);
    for request in [
        gzip,
        post("/v1/batches", CHAT_BODY),
        "DELETE /v1/files/file-1 HTTP/1.1\r\nHost: api.openai.com\r\n\r\n".to_owned(),
    ] {
        let answer = openai(&world, &dialer).exchange(request).unwrap();
        assert_denied(
            &answer,
            "weir_model_denied",
            "names no model that could be read, or several",
        );
    }
    assert_eq!(dialer.finish().access_log.len(), 14);
    assert_eq!(seen.connections(), 0);
}

/// Longer than what is held to know the model: it passes in pieces, and breaks off where the model is denied.
#[test]
fn a_model_behind_a_long_prompt_counts_too() {
    let world = World::new();
    let seen = obliging(&world);
    let dialer = under(&world, FEW_MODELS);
    let prompt = "a".repeat(3 << 20);
    let body =
        |model: &str| format!(r#"{{"messages":[{{"role":"user","content":"{prompt}"}}],"model":"{model}"}}"#);
    for path in [CHAT, "/v1/responses"] {
        let answer = openai(&world, &dialer)
            .exchange(post(path, &body("gpt-4o")))
            .unwrap();
        assert_eq!(answer.head.status(), 200);
        let answer = openai(&world, &dialer).exchange(post(path, &body("o3"))).unwrap();
        assert_denied(&answer, "weir_model_denied", "`o3`");
    }
    // A second model behind a permitted one is seen as late.
    let twice = body("gpt-4o").replacen('{', r#"{"model":"gpt-4o","#, 1);
    let answer = openai(&world, &dialer).exchange(post(CHAT, &twice)).unwrap();
    assert_denied(&answer, "weir_model_denied", "or several");
    let lines = dialer.finish().access_log;
    denied(&lines[1], "weir_model_denied", Some("o3"));
    let length = body("gpt-4o").len();
    assert_eq!(
        seen.requests(),
        [
            format!("POST {CHAT} HTTP/1.1 {length}"),
            format!("POST /v1/responses HTTP/1.1 {length}")
        ]
    );
}

/// A pause is no reason to begin: what is not yet permitted does not go.
#[test]
fn nothing_goes_before_the_model_is_known() {
    let world = World::new();
    let seen = obliging(&world);
    let dialer = under(&world, FEW_MODELS);
    let mut wire = openai(&world, &dialer);
    let request = post(CHAT, r#"{"messages":[],"model":"o3"}"#);
    let (first, second) = request.split_at(request.len() - 12);
    wire.send(first).unwrap();
    // Longer than Weir waits for the rest of a body that nothing depends on.
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_denied(&wire.exchange(second).unwrap(), "weir_model_denied", "`o3`");
    drop(wire);
    dialer.finish();
    assert_eq!(seen.connections(), 0);
}

#[test]
fn operations_are_known_by_any_path_to_them() {
    let world = World::new();
    let _seen = obliging(&world);
    let dialer = under(&world, "operations: {denied: [embeddings]}");
    let mut wire = openai(&world, &dialer);
    for path in [
        "/v1/embeddings",
        "/v1/embedding%73",
        "/v1//EMBEDDINGS/",
        "/v1/x/../embeddings?a=b",
    ] {
        let answer = wire.exchange(post(path, "{}")).unwrap();
        assert_denied(&answer, "weir_operation_denied", "`embeddings`");
    }
    assert_eq!(wire.exchange(post(CHAT, CHAT_BODY)).unwrap().head.status(), 200);
    drop(wire);
    let lines = dialer.finish().access_log;
    denied(&lines[0], "weir_operation_denied", None);

    let dialer = under(&world, "operations: {allowed: [chat]}");
    let mut wire = openai(&world, &dialer);
    assert_denied(
        &wire.exchange(post("/v1/files", "{}")).unwrap(),
        "weir_operation_denied",
        "no operation that is known",
    );
    assert_eq!(wire.exchange(post(CHAT, CHAT_BODY)).unwrap().head.status(), 200);
    drop(wire);
    dialer.finish();
}

#[test]
fn headers_are_set_and_removed_and_no_others() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let request = wire.whole()?;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        let lines = request
            .head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        Ok(lines.collect())
    });
    let dialer = under(
        &world,
        "headers: {set: [{name: OpenAI-Organization, value: org-1}, {name: x-team, value: a b}], remove: [x-debug, X-Trace]}",
    );
    let request = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nX-Debug: 1\r\nOPENAI-organization: mine\r\n\
                   x-trace: 1\r\nX-TRACE: 2\r\nAuthorization: Bearer mine\r\nx-Kept: yes\r\n\r\n";
    let mut wire = openai(&world, &dialer);
    assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
    drop(wire);
    dialer.finish();
    assert_eq!(
        reports.recv().unwrap(),
        format!(
            "Host: free.example\nOPENAI-organization: org-1\nAuthorization: Bearer {KEY}\nx-Kept: yes\nx-team: a b\n"
        )
    );
}

#[test]
fn a_changed_policy_holds_for_the_next_request_of_a_connection() {
    let world = World::new();
    let _seen = obliging(&world);
    let text = |spec: &str| configuration::scripted(&world) + &policy(spec);
    let run = world.bare_weir().configuration(&text("models: {denied: [none]}"));
    let file = run.configuration_path();
    let dialer = Dialer::start(run);
    let mut wire = openai(&world, &dialer);
    assert_eq!(wire.exchange(post(CHAT, CHAT_BODY)).unwrap().head.status(), 200);
    std::fs::write(file, text("models: {denied: ['gpt-*']}")).unwrap();
    dialer.running().wait_for_stderr("configuration taken");
    assert_denied(
        &wire.exchange(post(CHAT, CHAT_BODY)).unwrap(),
        "weir_model_denied",
        "`gpt-4o-mini`",
    );
    drop(wire);
    dialer.finish();
}
