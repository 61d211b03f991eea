//! Who was greeted and who is asked have to be one, and the server has to be who it was taken for.

use serde_json::{Value, json};
use weir_tests::captured::tls::Greeting;
use weir_tests::captured::{Dialer, configuration, http2, provider};
use weir_tests::world::servers;
use weir_tests::world::{KEY, World};

use super::{FREE, OPENAI};

/// Asserts that it is an error of Weir's own in OpenAI's words.
fn assert_openai_error(body: &Value, code: &str) {
    assert_eq!(body.pointer("/error/code"), Some(&json!(code)), "{body}");
    let message = body.pointer("/error/message").and_then(Value::as_str).unwrap();
    assert!(!message.is_empty() && !message.contains(KEY), "{message}");
    assert!(
        body.pointer("/error/type").is_some_and(Value::is_string),
        "{body}"
    );
}

#[test]
fn a_request_for_another_host_is_misdirected() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    let requests = [
        "GET /v1/models HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: plain.example\r\n\r\n",
        "GET https://plain.example/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nHost: plain.example\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: api.openai.com.plain.example\r\n\r\n",
        "GET /v1/models HTTP/1.1\r\n\r\n",
    ];
    for request in requests {
        let greeting = Greeting::to("api.openai.com");
        let mut wire = greeting.on(&world, dialer.connect(OPENAI)).unwrap();
        let answer = wire.exchange(request).unwrap();
        assert_eq!(answer.head.status(), 421, "{request}");
        assert_openai_error(&answer.json(), "weir_misdirected_request");
        assert_eq!(answer.head.header("x-should-retry"), Some("false"));
    }
    let (status, body) = http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let response = sender
            .send_request(http2::get("https://plain.example/v1/models"))
            .await
            .unwrap();
        (response.status(), http2::text(response).await)
    });
    assert_eq!(status, 421);
    assert_openai_error(&serde_json::from_str(&body).unwrap(), "weir_misdirected_request");
    // In the words of the host that was greeted.
    let greeting = Greeting::to("api.anthropic.com");
    let mut wire = greeting.on(&world, dialer.connect(OPENAI)).unwrap();
    let answer =
        wire.exchange("POST /v1/messages HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n\r\n{}");
    let answer = answer.unwrap();
    assert_eq!(answer.head.status(), 421);
    assert_eq!(
        answer.json().get("type"),
        Some(&json!("error")),
        "{}",
        answer.text()
    );
    drop(wire);
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), requests.len() + 2);
    for line in &finished.access_log {
        line.assert(&json!({
            "weir.outcome": "denied",
            "weir.error.code": "weir_misdirected_request",
            "http.response.status_code": 421,
        }));
    }
    assert_eq!(world.provider().connections(), 0);
}

const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 24\r\n\r\n{\"model\":\"gpt-4o-mini\" }";

fn at_the_original_destination() -> String {
    configuration::secret("openai-secret", "apiKey", KEY)
        + &configuration::openai(&["auth: {secretRef: {name: openai-secret}}"])
}

#[test]
fn an_impostor_never_sees_a_key() {
    let world = World::new();
    let impostor = world.impostor();
    let dialer = Dialer::start(world.bare_weir().configuration(&at_the_original_destination()));
    let greeting = Greeting::to("api.openai.com");
    let mut wire = greeting.on(&world, dialer.connect("203.0.113.66:443")).unwrap();
    let answer = wire.exchange(CHAT).unwrap();
    assert_eq!(answer.head.status(), 502);
    assert_openai_error(&answer.json(), "weir_upstream_untrusted");
    assert_eq!(answer.head.header("x-should-retry"), Some("false"));
    // The same by HTTP/2.
    let status = http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect("203.0.113.66:443"), "api.openai.com").await;
        let request = http2::post("https://api.openai.com/v1/chat/completions", "{}");
        sender.send_request(request).await.unwrap().status()
    });
    assert_eq!(status, 502);
    drop(wire);
    let finished = dialer.finish();
    for line in &finished.access_log {
        line.assert(&json!({"weir.outcome": "upstream_error", "weir.error.code": "weir_upstream_untrusted"}));
    }
    assert_eq!(finished.access_log.len(), 2);
    // It counts a connection only once its handshake is done: nothing that was encrypted ever reached it.
    assert_eq!(
        (impostor.records().connections(), impostor.records().all().len()),
        (0, 0)
    );
}

#[test]
fn a_good_certificate_for_another_name_is_an_impostors() {
    let world = World::new();
    let config = world.authority().server(
        &["free.example"],
        &["http/1.1"],
        &[&rustls::version::TLS13, &rustls::version::TLS12],
    );
    let reports = servers::start("203.0.113.40", 443, move |stream| {
        let mut wire = provider::accept(config.clone(), stream)?;
        Ok(format!("was told {:?}", wire.head()?))
    });
    let dialer = Dialer::start(world.bare_weir().configuration(&at_the_original_destination()));
    let greeting = Greeting::to("api.openai.com");
    let mut wire = greeting.on(&world, dialer.connect(FREE)).unwrap();
    let answer = wire.exchange(CHAT).unwrap();
    assert_eq!(answer.head.status(), 502);
    assert_openai_error(&answer.json(), "weir_upstream_untrusted");
    let report = reports.recv().unwrap();
    assert!(report.starts_with("error"), "{report}");
    drop(wire);
    dialer.finish();
}
