//! What comes over a captured connection: every form of TLS hello, plaintext, and what is not AI traffic at all.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use serde_json::json;
use weir_tests::world::binaries::built;
use weir_tests::world::run::Finished;
use weir_tests::world::{FREE, FREE6, KEY, ORIGINAL, PLAIN, World, servers};

fn probe(world: &World, arguments: &[&str]) -> Finished {
    let program = built("weir-probe");
    let mut command = vec![program.to_str().unwrap()];
    command.extend(arguments);
    world.weir().run(&command).assert_exit(0)
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[test]
fn every_packing_of_the_hello_and_either_version_is_terminated() {
    let world = World::new();
    let original = address(ORIGINAL, 443);
    for hello in ["whole", "bytes", "records"] {
        for version in ["1.2", "1.3"] {
            let arguments = [
                "tls",
                &original,
                "--server-name",
                "api.openai.com",
                "--hello",
                hello,
                "--version",
                version,
                "--path",
                "/v1/models",
            ];
            let finished = probe(&world, &arguments);
            let expected = format!(
                "TLSv1_{} no protocol\nHTTP/1.1 200 OK\r\n",
                version.trim_start_matches("1.")
            );
            assert!(
                finished.stdout.starts_with(&expected),
                "{hello} {version}: {}\n{}",
                finished.stdout,
                finished.stderr
            );
            finished
                .only_exchange()
                .assert(&json!({"url.path": "/v1/models"}));
        }
    }
}

#[test]
fn alpn_is_answered_with_what_the_client_speaks() {
    let world = World::new();
    let original = address(ORIGINAL, 443);
    for (offered, chosen) in [
        (vec!["h2", "http/1.1"], "h2"),
        (vec!["http/1.1"], "http/1.1"),
        (vec!["h2"], "h2"),
    ] {
        let mut arguments = vec!["tls", &original, "--server-name", "api.openai.com"];
        arguments.extend(offered.iter().flat_map(|name| ["--alpn", name]));
        let finished = probe(&world, &arguments);
        assert!(
            finished.stdout.starts_with(&format!("TLSv1_3 {chosen}\n")),
            "{offered:?}: {}",
            finished.stdout
        );
    }
}

#[test]
fn a_hello_beyond_64_kib_is_relayed() {
    let world = World::new();
    let reports = servers::start(FREE, 443, servers::echo);
    let finished = probe(&world, &["oversized-hello", &address(FREE, 443)]);
    assert_eq!(finished.stdout, "echoed unchanged\n", "{}", finished.stderr);
    assert!(reports.recv().unwrap().starts_with("echoed "));
}

#[test]
fn without_a_server_name_the_connection_is_relayed() {
    let world = World::new();
    let arguments = [
        "tls",
        &address(ORIGINAL, 443),
        "--server-name",
        "api.openai.com",
        "--no-sni",
        "--path",
        "/hello",
    ];
    let finished = probe(&world, &arguments);
    assert!(
        finished.stdout.contains("greets the visitor of api.openai.com"),
        "{}",
        finished.stdout
    );
    assert!(finished.access_log.is_empty());
    assert_eq!(
        world.provider().all().first().unwrap().header("authorization"),
        None
    );
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let world = World::new();
    for host in [FREE, FREE6] {
        for port in [80, 443] {
            let _reports = servers::start(host, port, servers::identity);
            let finished = probe(&world, &["raw", &address(host, port), "--half-close"]);
            assert_eq!(finished.stdout, format!("{}\n[closed]\n", address(host, port)));
        }
    }
}

#[test]
fn plaintext_on_80_is_served_for_a_backend_and_relayed_for_others() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&["curl", "-sSf", "http://api.openai.com/v1/models"])
        .assert_exit(0);
    assert!(finished.stdout.contains("gpt-4o"), "{}", finished.stdout);
    finished
        .only_exchange()
        .assert(&json!({"server.address": "api.openai.com", "http.response.status_code": 200}));
    let record = world.provider().all().pop().unwrap();
    assert!(record.tls, "the key must not travel in plaintext");
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );

    let finished = world
        .weir()
        .run(&["curl", "-sSf", "http://plain.example/hello"])
        .assert_exit(0);
    assert!(
        finished.stdout.contains("greets the visitor of plain.example"),
        "{}",
        finished.stdout
    );
    assert!(finished.access_log.is_empty());
}

#[test]
fn a_host_other_than_the_server_name_is_refused_with_421() {
    let world = World::new();
    let arguments = [
        "tls",
        &address(ORIGINAL, 443),
        "--server-name",
        "api.openai.com",
        "--host",
        "api.anthropic.com",
        "--path",
        "/v1/models",
    ];
    let finished = probe(&world, &arguments);
    assert!(finished.stdout.contains("HTTP/1.1 421 "), "{}", finished.stdout);
    assert!(
        finished.stdout.contains("weir_misdirected_request"),
        "{}",
        finished.stdout
    );
    assert!(world.provider().all().is_empty());
    let command = [
        "curl",
        "-sS",
        "--http2",
        "-w",
        "%{http_code}",
        "-H",
        "Host: evil.example",
        "https://api.openai.com/v1/models",
    ];
    let finished = world.weir().run(&command).assert_exit(0);
    assert!(finished.stdout.ends_with("421"), "{}", finished.stdout);
    assert!(world.provider().all().is_empty());
}

#[test]
fn what_is_no_backends_is_relayed_with_its_own_certificate() {
    let world = World::new();
    for version in ["--http1.1", "--http2"] {
        let command = ["curl", "-sSfv", version, "https://plain.example/hello"];
        let finished = world.weir().run(&command).assert_exit(0);
        assert!(
            finished.stdout.contains("greets the visitor of plain.example"),
            "{}",
            finished.stdout
        );
        assert!(
            finished.stderr.contains("Weir tests: public root"),
            "the issuer: {}",
            finished.stderr
        );
        assert!(finished.access_log.is_empty());
    }
    assert!(
        world
            .provider()
            .all()
            .iter()
            .all(|record| record.header("authorization").is_none())
    );
    assert_eq!(
        world.provider().all().first().unwrap().client.ip().to_string(),
        PLAIN
    );
}

const GIBIBYTE: &str = "1073741824";

#[test]
fn a_gibibyte_downloads_unchanged() {
    let world = World::new();
    let reports = servers::start(FREE, 443, servers::source);
    let finished = probe(&world, &["download", &address(FREE, 443), GIBIBYTE]);
    assert_eq!(
        finished.stdout,
        format!("{GIBIBYTE} {}\n", reports.recv().unwrap())
    );
}

#[test]
fn a_gibibyte_uploads_unchanged_and_the_half_close_is_kept() {
    let world = World::new();
    let reports = servers::start(FREE, 443, servers::sink);
    let finished = probe(&world, &["upload", &address(FREE, 443), GIBIBYTE]);
    let report = reports.recv().unwrap();
    assert_eq!(finished.stdout, format!("sent {report}\nserver {report}\n"));
}

#[test]
fn a_reset_passes_in_either_direction() {
    let world = World::new();
    let _reports = servers::start(FREE, 443, servers::reset);
    let finished = probe(&world, &["listen", &address(FREE, 443)]);
    assert_eq!(finished.stdout, "heard so far\nended with ConnectionReset\n");
    let reports = servers::start(FREE, 80, servers::echo);
    let finished = probe(&world, &["reset", &address(FREE, 80)]);
    assert_eq!(finished.stdout, "reset\n");
    assert_eq!(reports.recv().unwrap(), "error: ConnectionReset");
}

#[test]
fn a_client_that_does_not_trust_weir_is_named_with_the_mend_and_relayed_from_then_on() {
    let world = World::new();
    let program = built("weir-probe");
    let tls = format!(
        "{} tls {} --server-name api.openai.com --path /hello --distrust",
        program.display(),
        address(ORIGINAL, 443)
    );
    let mut running = world.weir().spawn(&["sh"]);
    running.write_line(&tls);
    running.wait_for_stdout("handshake failed");
    let said = running.wait_for_stderr("weir-probe");
    assert!(said.contains("SSL_CERT_FILE"), "what is to be done: {said}");
    running.write_line(&tls);
    running.wait_for_stdout("greets the visitor of api.openai.com");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
    assert!(
        world
            .provider()
            .all()
            .iter()
            .all(|record| record.header("authorization").is_none())
    );
}
