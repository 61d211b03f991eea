//! Many connections that come to nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use weir_tests::captured::Dialer;
use weir_tests::captured::tls::Greeting;
use weir_tests::world::World;

use super::{OPENAI, finish};

/// What is done with a connection, given half a hello and a whole one.
type Way = fn(&mut TcpStream, &[u8], &[u8]);

#[test]
fn ten_thousand_connections_leave_nothing() {
    let world = World::new();
    let dialer = Dialer::start(world.weir().metrics());
    let mut hello = Vec::new();
    Greeting::to("api.openai.com")
        .client(&world)
        .write_tls(&mut hello)
        .unwrap();
    let half = &hello[..hello.len() / 2];
    let ways: [Way; 5] = [
        |_, _, _| {},
        // A hello that is never finished.
        |stream, half, _| stream.write_all(half).unwrap(),
        // A handshake that is never finished, and one that is answered before it is given up.
        |stream, _, hello| stream.write_all(hello).unwrap(),
        |stream, _, hello| {
            stream.write_all(hello).unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
        },
        |stream, half, _| {
            stream.write_all(half).unwrap();
            socket2::SockRef::from(&*stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        },
    ];
    // Held for a while, so that there are always some hundred at a time.
    let mut open = std::collections::VecDeque::new();
    for number in 0..10_000 {
        let mut stream = dialer.connect(OPENAI);
        let way = ways.get(number % ways.len()).unwrap();
        way(&mut stream, half, &hello);
        open.push_back(stream);
        if open.len() > 200 {
            open.pop_front();
        }
    }
    drop(open);
    finish(&world, dialer, "/v1/models");
}

/// Opens so many connections, each of which has had an answer, and then lets go of all.
fn come_to_rest(world: &World, dialer: &Dialer<'_>, connections: usize) {
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut wire = super::openai(world, dialer);
        let request = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
        assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
        open.push(wire);
    }
}

#[test]
fn many_idle_connections_cost_little() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    come_to_rest(&world, &dialer, 300);
    finish(&world, dialer, "/v1/models");
}

#[test]
fn a_shells_limit_of_open_files_is_not_the_end() {
    let world = World::new();
    let dialer = Dialer::start(world.weir().open_files(128));
    // Each takes two descriptors of Weir's.
    come_to_rest(&world, &dialer, 150);
    finish(&world, dialer, "/v1/models");
}
