//! Where exchanges go: endpoints of every kind, and who shares connections.

use serde_json::json;
use weir_tests::captured::{Dialer, configuration};
use weir_tests::certificates::Authority;
use weir_tests::world::{KEY, World, configuration::authority};

use super::{CHAT_BODY, anthropic, code, message, openai, post};

fn configured(world: &World, spec: &[&str]) -> String {
    let secret = configuration::secret("openai-secret", "apiKey", KEY);
    let lines = [&["auth: {secretRef: {name: openai-secret}}"], spec].concat();
    format!(
        "{}---\n{secret}{}",
        authority(world),
        configuration::openai(&lines)
    )
}

const MODELS: &str = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";

#[test]
fn an_endpoint_in_plaintext() {
    let world = World::new();
    let text = configured(
        &world,
        &["endpoint: {host: provider.example, pathPrefix: /openai/, tls: {mode: Plaintext}}"],
    );
    let dialer = Dialer::start(world.bare_weir().configuration(&text));
    let answer = openai(&world, &dialer)
        .exchange(post("/v1/chat/completions?beta=1", CHAT_BODY))
        .unwrap();
    assert_eq!(answer.head.status(), 200, "{}", answer.text());
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"url.path": "/v1/chat/completions", "weir.usage": "read"}));
    let record = world.provider().all().pop().unwrap();
    assert_eq!(
        (record.tls, record.path.as_str()),
        (false, "/openai/v1/chat/completions?beta=1")
    );
    assert_eq!(record.header("host"), Some("provider.example"));
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(record.body_bytes(), CHAT_BODY.as_bytes());
}

#[test]
fn an_endpoint_by_address_with_a_name_of_its_own() {
    let world = World::new();
    let text = configured(
        &world,
        &[
            "endpoint: {host: 203.0.113.10, tls: {serverName: provider.example, caCertificateRefs: [{kind: ConfigMap, name: mock-ca}]}}",
        ],
    );
    let dialer = Dialer::start(world.bare_weir().configuration(&text));
    assert_eq!(
        openai(&world, &dialer).exchange(MODELS).unwrap().head.status(),
        200
    );
    dialer.finish();
    let record = world.provider().all().pop().unwrap();
    assert_eq!(record.server_name.as_deref(), Some("provider.example"));
    assert_eq!(record.header("host"), Some("provider.example"));
}

#[test]
fn an_authority_of_ones_own_is_the_only_one() {
    let world = World::new();
    // The server's certificate is good by the public roots, but another authority is named for it.
    let other: String = Authority::new("another")
        .pem()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other-ca}}\ndata:\n  ca.crt: |\n{other}---\n{}",
        configured(
            &world,
            &[
                "endpoint: {host: provider.example, tls: {caCertificateRefs: [{kind: ConfigMap, name: other-ca}]}}"
            ]
        )
    );
    let dialer = Dialer::start(world.bare_weir().configuration(&text));
    let answer = openai(&world, &dialer).exchange(MODELS).unwrap();
    assert_eq!(
        (answer.head.status(), code(&answer.json())),
        (502, "weir_upstream_untrusted")
    );
    dialer.finish();
    assert_eq!(world.provider().connections(), 0);
}

/// Two connections of the app, one after the other; which connections to the provider they used.
fn connections(dial: &str) -> Vec<usize> {
    let world = World::new();
    let text = configured(
        &world,
        &[
            "endpoint: {host: provider.example, tls: {caCertificateRefs: [{kind: ConfigMap, name: mock-ca}]}}",
            &format!("dial: {dial}"),
        ],
    );
    let dialer = Dialer::start(world.bare_weir().configuration(&text));
    for _ in 0..2 {
        let mut wire = openai(&world, &dialer);
        for _ in 0..2 {
            assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 200);
        }
    }
    dialer.finish();
    world
        .provider()
        .all()
        .iter()
        .map(|record| record.connection)
        .collect()
}

#[test]
fn what_an_app_opened_is_its_own() {
    assert_eq!(connections("Pod"), [0, 0, 1, 1]);
}

#[test]
fn a_pool_of_the_node_is_shared() {
    assert_eq!(connections("Node"), [0, 0, 0, 0]);
}

/// A connection from before the change is told so, in its own dialect, and is in the books as every other exchange.
#[test]
fn a_backend_that_is_taken_away() {
    let world = World::new();
    let run = world.weir();
    let path = run.configuration_path();
    let dialer = Dialer::start(run);
    let mut asked = openai(&world, &dialer);
    // One that has asked nothing yet, too.
    let mut unasked = anthropic(&world, &dialer);
    assert_eq!(
        asked
            .exchange(post("/v1/chat/completions", CHAT_BODY))
            .unwrap()
            .head
            .status(),
        200
    );
    std::fs::write(
        path,
        configuration::openai(&["hosts: [plain.example]", "auth: {passthrough: {}}"]),
    )
    .unwrap();
    dialer.running().wait_for_stderr("configuration taken");
    let told = [
        asked.exchange(post("/v1/chat/completions", CHAT_BODY)).unwrap(),
        unasked.exchange(message(CHAT_BODY)).unwrap(),
    ];
    for answer in &told {
        assert_eq!(
            (answer.head.status(), code(&answer.json())),
            (421, "weir_backend_removed"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.head.header("connection"), Some("close"));
    }
    assert_eq!(told[1].json().get("type"), Some(&json!("error")));
    drop((asked, unasked));
    let lines = dialer.finish().access_log;
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, backend, provider) in [
        (&lines[1], "default/openai", "openai"),
        (&lines[2], "default/anthropic", "anthropic"),
    ] {
        line.assert(&json!({
            "weir.backend": backend,
            "gen_ai.provider.name": provider,
            "weir.outcome": "denied",
            "weir.error.code": "weir_backend_removed",
            "http.response.status_code": 421,
            "weir.usage": "none",
        }));
    }
}
