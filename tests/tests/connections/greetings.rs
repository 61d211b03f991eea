//! How a client may greet, over TLS and without.

use std::io::{self, Write};
use std::net::TcpStream;

use rustls::version::{TLS12, TLS13};
use serde_json::json;
use weir_tests::captured::tls::{Greeting, Trust, finish};
use weir_tests::captured::{Dialer, Wire, configuration, http2};
use weir_tests::world::servers;
use weir_tests::world::{KEY, World};

use super::{FREE, MODELS, OPENAI, PLAIN};

/// How a hello, which is one whole record, is put on the wire.
fn pack(packing: &str, hello: &[u8], mut stream: &TcpStream) -> io::Result<()> {
    match packing {
        "whole" => stream.write_all(hello),
        // Without delay each write is a segment of its own.
        "byte by byte" => hello.iter().try_for_each(|byte| stream.write_all(&[*byte])),
        "over records of one byte" => stream.write_all(&records(&hello[5..], 1)),
        "over records of 100 bytes" => stream.write_all(&records(&hello[5..], 100)),
        other => panic!("{other}"),
    }
}

/// A handshake message in records of at most `size` bytes (RFC 8446, section 5.1).
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let [high, low] = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, high, low], fragment].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

#[test]
fn a_hello_may_come_in_any_packing() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    let packings = [
        "whole",
        "byte by byte",
        "over records of one byte",
        "over records of 100 bytes",
    ];
    let mut exchanges = 0;
    for version in [&TLS12, &TLS13] {
        for packing in packings {
            let greeting = Greeting {
                version: Some(version),
                ..Greeting::to("api.openai.com")
            };
            let mut client = greeting.client(&world);
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            let stream = dialer.connect(OPENAI);
            pack(packing, &hello, &stream).unwrap();
            let mut wire =
                finish(client, stream).unwrap_or_else(|error| panic!("{version:?}, {packing}: {error}"));
            assert_eq!(wire.stream().conn.protocol_version(), Some(version.version));
            assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 200);
            exchanges += 1;
        }
    }
    let finished = dialer.finish();
    assert_eq!(finished.access_log.len(), exchanges);
}

#[test]
fn a_hello_beyond_what_is_held_is_relayed() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, servers::echo);
    let dialer = Dialer::start(world.weir());
    // A handshake message of 100,000 bytes, well-formed as far as it goes.
    let mut message = vec![1, 1, 0x86, 0xa0, 3, 3];
    message.resize(4 + 100_000, 0x5a);
    let hello = records(&message, 16_384);
    let mut stream = dialer.connect(FREE);
    let mut reader = Wire::new(stream.try_clone().unwrap());
    let length = hello.len();
    // Read beside the writing: an echo of this size does not fit into the buffers on the way.
    let reading = std::thread::spawn(move || reader.take(length));
    stream.write_all(&hello).unwrap();
    assert_eq!(reading.join().unwrap().unwrap(), hello);
    drop(stream);
    assert_eq!(reports.recv().unwrap(), format!("echoed {length}"));
    assert!(dialer.finish().access_log.is_empty());
}

#[test]
fn both_protocols_are_offered() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.0", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let greeting = Greeting {
            alpn: offered,
            ..Greeting::to("api.openai.com")
        };
        let wire = greeting.on(&world, dialer.connect(OPENAI)).unwrap();
        let alpn = wire.stream().conn.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
    }
    // Without ALPN it is HTTP/1.1.
    let greeting = Greeting {
        alpn: &[],
        ..Greeting::to("api.openai.com")
    };
    let mut wire = greeting.on(&world, dialer.connect(OPENAI)).unwrap();
    assert_eq!(wire.exchange(MODELS).unwrap().head.start, "HTTP/1.1 200 OK");
    let status = http2::runtime().block_on(async {
        let mut sender = http2::connect(&world, dialer.connect(OPENAI), "api.openai.com").await;
        let response = sender
            .send_request(http2::get("https://api.openai.com/v1/models"))
            .await;
        response.unwrap().status()
    });
    assert_eq!(status, 200);
    drop(wire);
    assert_eq!(dialer.finish().access_log.len(), 2);
}

#[test]
fn a_name_in_capitals_is_the_same_name() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    let greeting = Greeting::to("API.OpenAI.com");
    let mut wire = greeting.on(&world, dialer.connect(OPENAI)).unwrap();
    let request = "GET /v1/models HTTP/1.1\r\nHost: Api.OPENAI.com:443\r\n\r\n";
    assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
    drop(wire);
    dialer
        .finish()
        .only_exchange()
        .assert(&json!({"server.address": "api.openai.com"}));
}

#[test]
fn without_a_name_or_for_another_host_it_is_relayed() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    for (sni, name, host) in [
        (false, "plain.example", "plain.example"),
        (true, "plain.example", "plain.example"),
        // The name in the hello is what counts, not the one in the request, which nobody sees.
        (true, "other.example", "api.openai.com"),
    ] {
        let greeting = Greeting {
            sni,
            trust: Trust::Servers,
            ..Greeting::to(name)
        };
        let mut wire = greeting.on(&world, dialer.connect(PLAIN)).unwrap();
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = wire.exchange(request).unwrap();
        assert_eq!(
            answer.text(),
            format!("The mock provider greets the visitor of {host}\n")
        );
    }
    assert!(dialer.finish().access_log.is_empty());
    let all = world.provider().all();
    assert!(
        all.iter().all(|record| record.header("authorization").is_none()),
        "{all:?}"
    );
}

#[test]
fn a_server_may_speak_first() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, servers::identity);
    let dialer = Dialer::start(world.weir());
    let mut wire = Wire::new(dialer.connect(FREE));
    assert_eq!(wire.until(b"\n").unwrap(), b"203.0.113.40:443\n");
    wire.send("and now the client").unwrap();
    assert_eq!(wire.take(18).unwrap(), b"and now the client");
    drop(wire);
    assert_eq!(reports.recv().unwrap(), "echoed 18");
    assert!(dialer.finish().access_log.is_empty());
}

#[test]
fn what_only_begins_like_a_request_reaches_its_server() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, servers::echo);
    let dialer = Dialer::start(world.weir());
    // The beginning of a request, of nothing known. Each client says no more until it is answered.
    for said in [
        &b"PING"[..],
        b"GET / HTTP/1.1\r\nHost: api.openai.com\r\n",
        b"hello\n",
    ] {
        let mut wire = Wire::new(dialer.connect(FREE));
        wire.send(said).unwrap();
        assert_eq!(wire.take(said.len()).unwrap(), said);
        drop(wire);
        assert_eq!(reports.recv().unwrap(), format!("echoed {}", said.len()));
    }
    // Half a hello is answered by nobody: relayed, a pause in it would be a way around Weir.
    let mut wire = Wire::new(dialer.connect(FREE));
    wire.send(b"\x16\x03\x01\x02\x00\x01").unwrap();
    assert_eq!(wire.ending().0, b"");
    drop(wire);
    assert!(dialer.finish().access_log.is_empty());
}

/// No endpoint: what the app dialled is where it goes.
fn at_the_original_destination() -> String {
    configuration::secret("openai-secret", "apiKey", KEY)
        + &configuration::openai(&["auth: {secretRef: {name: openai-secret}}"])
}

#[test]
fn a_key_never_travels_in_plaintext() {
    let world = World::new();
    let dialer = Dialer::start(world.bare_weir().configuration(&at_the_original_destination()));
    let mut wire = Wire::new(dialer.connect("203.0.113.20:80"));
    // Twice on one connection, the second time as a proxy's client writes it.
    assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 200);
    let absolute = "GET http://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
    assert_eq!(wire.exchange(absolute).unwrap().head.status(), 200);
    drop(wire);
    assert_eq!(dialer.finish().access_log.len(), 2);
    let all = world.provider().all();
    assert_eq!(all.len(), 2);
    for record in all {
        assert!(record.tls, "{record:?}");
        assert_eq!(record.server_name.as_deref(), Some("api.openai.com"));
        assert_eq!(record.path, "/v1/models");
        assert_eq!(
            record.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
    }
}

#[test]
fn plaintext_for_other_hosts_is_relayed() {
    let world = World::new();
    let dialer = Dialer::start(world.bare_weir().configuration(&at_the_original_destination()));
    let mut wire = Wire::new(dialer.connect("203.0.113.30:80"));
    let request = "GET /hello HTTP/1.1\r\nHost: plain.example\r\nx-Peculiar-CASE: kept\r\n\r\n";
    let answer = wire.exchange(request).unwrap();
    assert_eq!(
        answer.text(),
        "The mock provider greets the visitor of plain.example\n"
    );
    drop(wire);
    assert!(dialer.finish().access_log.is_empty());
    let record = world.provider().all().pop().unwrap();
    assert!(!record.tls);
    assert_eq!(
        record.headers,
        [("Host", "plain.example"), ("x-Peculiar-CASE", "kept")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}
