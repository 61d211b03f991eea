//! Whose key goes where.

use serde_json::json;
use weir_tests::captured::{Dialer, configuration, provider};
use weir_tests::world::{KEY, World};

use super::{anthropic, code, message, openai};

const PLACEHOLDER: &str = "weir-placeholder-weir-puts-the-key-in";

/// Answers each request by the headers that it had, as they came.
fn telling(world: &World) -> weir_tests::world::servers::Reports {
    provider::start(world, |mut wire| {
        let mut requests = 0;
        while let Ok(request) = wire.whole() {
            let lines: Vec<String> = request
                .head
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let body = lines.join("\n");
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))?;
            requests += 1;
        }
        Ok(requests.to_string())
    })
}

#[test]
fn what_the_caller_sent_never_leaves_beside_our_key() {
    let world = World::new();
    let _reports = telling(&world);
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration::scripted(&world)));
    let mut wire = openai(&world, &dialer);
    for callers in ["sk-mine", PLACEHOLDER] {
        for headers in [
            format!("AUTHorization: Bearer {callers}\r\n"),
            format!("AUTHorization: Bearer {callers}\r\nauthorization: Bearer {callers}\r\n"),
            format!("AUTHorization: {callers}\r\n"),
        ] {
            let request = format!(
                "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nx-First: 1\r\n{headers}x-Last: 2\r\n\r\n"
            );
            let told = wire.exchange(request).unwrap().text();
            assert!(!told.contains(callers), "{told}");
            // In the place and the case of the caller's own.
            assert_eq!(
                told,
                format!("Host: free.example\nx-First: 1\nAUTHorization: Bearer {KEY}\nx-Last: 2")
            );
        }
    }
    let mut wire = anthropic(&world, &dialer);
    for headers in [
        "X-Api-Key: mine\r\nAuthorization: Bearer mine\r\n",
        "authorization: Bearer mine\r\n",
        "",
    ] {
        let request = format!("GET /v1/models HTTP/1.1\r\nHost: api.anthropic.com\r\n{headers}\r\n");
        let told = wire.exchange(request).unwrap().text();
        assert!(
            !told.contains("mine") && !told.to_lowercase().contains("authorization"),
            "{told}"
        );
        assert_eq!(
            told.to_lowercase().matches(&format!("x-api-key: {KEY}")).count(),
            1,
            "{told}"
        );
    }
    drop(wire);
    dialer.finish();
}

#[test]
fn a_callers_own_key_passes_untouched_without_one_of_ours() {
    let world = World::new();
    // No -f: the original destination, the caller's key.
    let dialer = Dialer::start(world.bare_weir());
    let mut wire = openai(&world, &dialer);
    let own = format!(
        "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nauthORIZATION: Bearer {KEY}\r\nx-api-KEY: too\r\n\r\n"
    );
    assert_eq!(wire.exchange(&own).unwrap().head.status(), 200);
    // Without any, the provider says so itself.
    let none = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
    let answer = wire.exchange(none).unwrap();
    assert_eq!(
        (answer.head.status(), code(&answer.json())),
        (401, "missing_api_key")
    );
    drop(wire);
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), 2);
    for line in &finished.access_log {
        line.assert(&json!({"weir.outcome": "completed", "weir.error.code": null}));
    }
    let record = world.provider().all().remove(0);
    let headers: Vec<String> = record
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(
        headers,
        [
            "Host: api.openai.com",
            &format!("authORIZATION: Bearer {KEY}"),
            "x-api-KEY: too"
        ]
    );
}

/// Many clients send head and body apart. A refusal that needs no body must not close the connection under the next request, or say that it does.
#[test]
fn a_refused_body_that_comes_late_costs_the_connection_only_if_it_is_long() {
    let world = World::new();
    let dialer = Dialer::start(world.bare_weir());
    let mut wire = openai(&world, &dialer);
    let head = |length: usize, more: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer {PLACEHOLDER}\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    for _ in 0..3 {
        wire.send(head(10, "")).unwrap();
        // Weir has refused it by then, and waits for the body: nothing tells of that.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let answer = wire.exchange("0123456789").unwrap();
        assert_eq!(
            (answer.head.status(), answer.head.header("connection")),
            (401, None)
        );
    }
    let answer = wire.exchange(head(10 << 20, "")).unwrap();
    assert_eq!(
        (answer.head.status(), answer.head.header("connection")),
        (401, Some("close"))
    );
    let mut wire = openai(&world, &dialer);
    let answer = wire.exchange(head(10, "Expect: 100-continue\r\n")).unwrap();
    assert_eq!(
        (answer.head.status(), answer.head.header("connection")),
        (401, Some("close"))
    );
    drop(wire);
    dialer.finish();
}

#[test]
fn a_placeholder_without_a_key_of_ours_is_a_401_of_the_dialect() {
    let world = World::new();
    let dialer = Dialer::start(world.bare_weir());
    let mut wire = openai(&world, &dialer);
    let request = format!(
        "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer {PLACEHOLDER}\r\n\r\n"
    );
    let answer = wire.exchange(request).unwrap();
    assert_eq!(
        (answer.head.status(), code(&answer.json())),
        (401, "weir_no_credential")
    );
    assert_eq!(answer.head.header("x-should-retry"), Some("false"));
    assert!(answer.json().get("type").is_none(), "{}", answer.text());
    let mut wire = anthropic(&world, &dialer);
    for header in ["x-api-key: ", "Authorization: Bearer "] {
        let request = message("{}").replacen("\r\n", &format!("\r\n{header}{PLACEHOLDER}\r\n"), 1);
        let answer = wire.exchange(request).unwrap();
        assert_eq!(answer.head.status(), 401);
        assert_eq!(
            answer.json().get("type"),
            Some(&json!("error")),
            "{}",
            answer.text()
        );
        assert_eq!(
            answer.json().pointer("/error/type"),
            Some(&json!("authentication_error"))
        );
    }
    drop(wire);
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), 3);
    for line in &finished.access_log {
        line.assert(&json!({"weir.outcome": "denied", "weir.error.code": "weir_no_credential"}));
    }
    assert!(world.provider().all().is_empty());
}
