//! Clients that say too much, too little, or what contradicts itself.

use serde_json::json;
use weir_tests::captured::provider::Served;
use weir_tests::captured::{Dialer, Signal, Wire, configuration, http2, provider};
use weir_tests::noise::Noise;
use weir_tests::world::World;
use weir_tests::world::servers::Reports;

use super::{OPENAI, finish, openai};

/// A provider that tells of each request what its line was and how long its body; a body that broke off is told of as well.
fn telling(world: &World) -> Reports {
    provider::start(world, |mut wire: Served| {
        let mut told = Vec::new();
        while let Ok(head) = wire.head() {
            match wire.body(&head) {
                Ok(body) => told.push(format!("{} {}", head.start, body.len())),
                Err(_) => {
                    told.push(format!("{} broke off", head.start));
                    break;
                }
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")?;
        }
        Ok(told.join(", "))
    })
}

fn scripted(world: &World) -> Dialer<'_> {
    Dialer::start(world.bare_weir().configuration(&configuration::scripted(world)))
}

#[test]
fn a_hello_that_is_never_finished() {
    let world = World::new();
    let _reports = telling(&world);
    let dialer = scripted(&world);
    let mut hello = Vec::new();
    weir_tests::captured::tls::Greeting::to("api.openai.com")
        .client(&world)
        .write_tls(&mut hello)
        .unwrap();
    // Cut at every place that means something, and ended: what there was goes to the real server, which says what it thinks of it.
    for length in [1, 4, 5, 6, 9, 43, hello.len() - 1] {
        let mut stream = dialer.connect(OPENAI);
        std::io::Write::write_all(&mut stream, &hello[..length]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = Wire::new(stream).ending();
    }
    // Records of other kinds, of no length and of more than may be; a hello full of noise.
    let mut noise = vec![0; 512];
    Noise::new(3).fill(&mut noise);
    let noisy = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise].concat();
    for bytes in [
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x09\x09\x00\x01\x01",
        &noisy,
    ] {
        let mut stream = dialer.connect(OPENAI);
        std::io::Write::write_all(&mut stream, bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = Wire::new(stream).ending();
    }
    finish(&world, dialer, "/v1/models");
}

#[test]
fn a_head_without_end() {
    let world = World::new();
    let reports = telling(&world);
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    wire.send("GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n")
        .unwrap();
    let lines = "X-Again: and again and again and again\r\n".repeat(100);
    // 40 MiB, unless it is stopped; a write that fails is a stop too.
    let sent = (0..10_000).take_while(|_| wire.send(&lines).is_ok()).count();
    assert!(sent < 10_000, "nobody stopped it");
    drop(wire);
    // The same in one header, in the line itself, and in the plain.
    for head in [
        format!(
            "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nX: {}\r\n\r\n",
            "x".repeat(200_000)
        ),
        format!(
            "GET /{} HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
            "x".repeat(200_000)
        ),
        format!(
            "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n{}\r\n",
            "X: x\r\n".repeat(500)
        ),
    ] {
        let mut wire = openai(&world, &dialer);
        let answered = wire.send(&head).and_then(|()| wire.head());
        if let Ok(answer) = answered {
            assert!(matches!(answer.status(), 400 | 414 | 431), "{answer:?}");
        }
    }
    finish(&world, dialer, "/v1/models");
    assert_eq!(reports.recv().unwrap(), "GET /v1/models HTTP/1.1 0");
}

/// Longer than is taken, but not past all reading: in either version an error that says why, and a line in the books.
#[test]
fn a_head_somewhat_too_long() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    let long = "x".repeat(100_000);
    let request = format!("GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nX-Long: {long}\r\n\r\n");
    let answer = openai(&world, &dialer).exchange(request).unwrap();
    let over_http1 = (answer.head.status(), answer.text());
    let over_http2 = http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let mut request = http2::get("https://api.openai.com/v1/models");
        let long = http::HeaderValue::try_from(&long).unwrap();
        request.headers_mut().insert("x-long", long);
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = http2::text(answer).await;
        // The connection goes on.
        let next = sender.send_request(http2::get("https://api.openai.com/v1/models"));
        assert_eq!(next.await.unwrap().status(), 200);
        (status, text)
    });
    assert_eq!(over_http1, over_http2);
    assert_eq!(over_http1.0, 431);
    let error: serde_json::Value = serde_json::from_str(&over_http1.1).unwrap();
    assert_eq!(error.pointer("/error/code"), Some(&json!("weir_head_too_long")));
    let lines = dialer.finish().access_log;
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in &lines[..2] {
        line.assert(&json!({
            "weir.outcome": "denied",
            "weir.error.code": "weir_head_too_long",
            "http.response.status_code": 431,
        }));
    }
}

#[test]
fn too_many_headers_over_http2() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let mut request = http2::get("https://api.openai.com/v1/models");
        for number in 0..3000 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            request.headers_mut().insert(
                name,
                http::HeaderValue::from_static("and again and again and again"),
            );
        }
        match sender.send_request(request).await {
            Ok(response) => assert_eq!(response.status(), 431),
            // Refused by the framing itself.
            Err(error) => assert!(!error.is_user(), "{error}"),
        }
    });
    finish(&world, dialer, "/v1/models");
    assert_eq!(world.provider().all().len(), 1);
}

/// 32 MiB, as fast as it goes and piece by piece, on paths that are held, read, and neither.
#[test]
fn a_long_body() {
    const PIECE: usize = 1 << 20;
    let world = World::new();
    let taken = Signal::default();
    let server_taken = taken.clone();
    let reports = provider::start(&world, move |mut wire: Served| {
        let mut told = Vec::new();
        while let Ok(head) = wire.head() {
            let slow = head.header("x-slow").is_some();
            let chunked = head.header("transfer-encoding").is_some();
            let (mut length, mut given) = (0, 0);
            while length < 32 * PIECE {
                length += if chunked {
                    wire.chunk()?.unwrap_or_default().len()
                } else {
                    wire.take(PIECE)?.len()
                };
                while slow && length / PIECE > given {
                    given += 1;
                    server_taken.give();
                }
            }
            if chunked {
                assert_eq!(wire.chunk()?, None);
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")?;
            told.push(length.to_string());
        }
        Ok(told.join(" "))
    });
    let dialer = scripted(&world);
    let mut piece = format!("{{\"model\":\"gpt-4o\",\"x\":\"{}", "weir ".repeat(PIECE / 5)).into_bytes();
    piece.truncate(PIECE);
    let mut wire = openai(&world, &dialer);
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/files"] {
        for slow in ["", "x-slow: 1\r\n"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: api.openai.com\r\n{slow}Content-Length: {}\r\n\r\n",
                32 * PIECE
            );
            wire.send(head).unwrap();
            for _ in 0..32 {
                wire.send(&piece).unwrap();
                if !slow.is_empty() {
                    taken.wait();
                }
            }
            assert_eq!(wire.whole().unwrap().head.status(), 200);
        }
    }
    drop(wire);
    assert_eq!(reports.recv().unwrap(), ["33554432"; 6].join(" "));
    let peak = dialer.running().peak_resident_bytes();
    assert!(peak < super::MOST_RESIDENT, "{peak} bytes resident");
    dialer.finish();
}

/// What contradicts itself never arrives as a whole request, nor as two.
#[test]
fn framing_that_contradicts_itself() {
    let world = World::new();
    let reports = telling(&world);
    let dialer = scripted(&world);
    let smuggled = "GET /v1/smuggled HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
    for (head, body) in [
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nthis is no size\r\n"),
        ("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked", "-1\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhelloNOT AN END\r\n"),
        ("Content-Length: 3\r\nContent-Length: 5", "hello"),
        ("Content-Length: 5, 6", "hello"),
        ("Content-Length: -5", "hello"),
        ("Content-Length: 18446744073709551616", "hello"),
        ("Transfer-Encoding: gzip", "hello"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
    ] {
        let mut wire = openai(&world, &dialer);
        let request =
            format!("POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\n{head}\r\n\r\n{body}{smuggled}");
        let answer = wire.send(&request).and_then(|()| wire.whole());
        if let Ok(answer) = answer {
            assert_eq!(answer.head.status(), 400, "{head}");
        }
        let (rest, _) = wire.ending();
        assert!(rest.is_empty(), "{head}: {}", String::from_utf8_lossy(&rest));
    }
    finish(&world, dialer, "/v1/end");
    let mut told = Vec::new();
    while told.last().is_none_or(|line: &String| !line.contains("/v1/end")) {
        told.push(reports.recv().unwrap());
    }
    for line in &told {
        assert!(!line.contains("smuggled"), "{told:?}");
        let whole = line.contains("/v1/files") && !line.contains("broke off");
        assert!(!whole, "{told:?}");
    }
}

/// Both a length and chunks: the chunks count (RFC 9112, section 6.3), and upstream sees one of the two only.
#[test]
fn a_length_beside_chunks() {
    let world = World::new();
    let reports = provider::start(&world, |mut wire: Served| {
        let head = wire.head()?;
        let both = head.header("content-length").is_some() && head.header("transfer-encoding").is_some();
        let body = wire.body(&head)?;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")?;
        Ok(format!("{both} {}", String::from_utf8_lossy(&body)))
    });
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    let request = "POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = wire.send(request).and_then(|()| wire.head()).unwrap();
    drop(wire);
    // Refusing it is as good.
    if answer.status() == 200 {
        assert_eq!(reports.recv().unwrap(), "false hello");
    } else {
        assert_eq!(answer.status(), 400);
    }
    finish(&world, dialer, "/v1/models");
}

#[test]
fn a_body_shorter_than_its_length() {
    let world = World::new();
    let reports = telling(&world);
    let dialer = scripted(&world);
    for (path, length) in [
        ("/v1/chat/completions", 100),
        ("/v1/files", 100),
        ("/v1/chat/completions", 3_000_000),
    ] {
        let mut wire = openai(&world, &dialer);
        let body = "x".repeat(length / 2);
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .unwrap();
        drop(wire);
    }
    dialer.running().wait_for_exchanges(3);
    finish(&world, dialer, "/v1/end");
    let mut told = Vec::new();
    while told.last().is_none_or(|line: &String| !line.contains("/v1/end")) {
        told.push(reports.recv().unwrap());
    }
    // Some never got so far as a request; none is taken for a whole one.
    let whole = |line: &&String| line.contains("POST") && !line.contains("broke off");
    assert_eq!(told.iter().find(whole), None, "{told:?}");
}

#[test]
fn nonsense_after_a_request() {
    let world = World::new();
    let _reports = telling(&world);
    let dialer = scripted(&world);
    let mut wire = openai(&world, &dialer);
    let request = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n\x00\x01\x02 nonsense\r\n\r\n";
    assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
    let (rest, _) = wire.ending();
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    // HTTP/2 where HTTP/1.1 was agreed on.
    let mut wire = openai(&world, &dialer);
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let _ = wire.ending();
    let finished = {
        let mut wire = openai(&world, &dialer);
        assert_eq!(
            wire.exchange("GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
                .unwrap()
                .head
                .status(),
            200
        );
        drop(wire);
        dialer.finish()
    };
    for line in &finished.access_log {
        line.assert(&json!({"url.path": "/v1/models", "weir.outcome": "completed"}));
    }
}
