//! Where exchanges go: endpoints of every kind, and who shares connections.

use serde_json::json;
use weir_tests::captured::{Dialer, configuration};
use weir_tests::certificates::Authority;
use weir_tests::world::{KEY, World, configuration::authority};

use super::{CHAT_BODY, code, openai, post};

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
