//! What is not ours passes byte for byte, and ends as it was ended.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use weir_tests::captured::Dialer;
use weir_tests::noise;
use weir_tests::world::World;
use weir_tests::world::servers;

use super::FREE;

const GIBIBYTE: u64 = 1 << 30;

#[test]
fn a_gibibyte_passes_unchanged_each_way() {
    let world = World::new();
    let sunk = servers::start("203.0.113.40", 443, servers::sink);
    let sent = servers::start("203.0.113.40", 80, servers::source);
    let dialer = Dialer::start(world.weir());
    let mut up = dialer.connect(FREE);
    let mut down = dialer.connect("203.0.113.40:80");
    let uploading = std::thread::spawn(move || {
        let hash = noise::send(&mut up, 2, GIBIBYTE).unwrap();
        // The server answers once it has seen our end: the half-close went through.
        up.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        up.read_to_string(&mut answer).unwrap();
        (hash, answer)
    });
    writeln!(down, "{GIBIBYTE}").unwrap();
    let (length, hash) = noise::receive(&mut down).unwrap();
    drop(down);
    assert_eq!(length, GIBIBYTE);
    assert_eq!(sent.recv().unwrap(), hash);
    let (hash, answer) = uploading.join().unwrap();
    assert_eq!(sunk.recv().unwrap(), format!("{GIBIBYTE} {hash}"));
    assert_eq!(answer, format!("{GIBIBYTE} {hash}\n"));
    // Debug build and all: it never held more than a few buffers of it.
    let peak = dialer.running().peak_resident_bytes();
    assert!(peak < 128 << 20, "{peak} bytes resident");
    assert!(dialer.finish().access_log.is_empty());
}

#[test]
fn a_server_may_end_its_side_first() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, |mut stream: TcpStream| {
        stream.write_all(b"all that I say")?;
        stream.shutdown(Shutdown::Write)?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard)?;
        Ok(heard)
    });
    let dialer = Dialer::start(world.weir());
    let mut stream = dialer.connect(FREE);
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "all that I say");
    stream.write_all(b"and what I say after").unwrap();
    drop(stream);
    assert_eq!(reports.recv().unwrap(), "and what I say after");
    dialer.finish();
}

#[test]
fn resets_pass_both_ways() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, servers::echo);
    let by_server = servers::start("203.0.113.40", 80, servers::reset);
    let dialer = Dialer::start(world.weir());

    let mut stream = dialer.connect(FREE);
    let mut heard = [0; 5];
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut heard).unwrap();
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(stream);
    assert_eq!(reports.recv().unwrap(), "error: ConnectionReset");

    let mut stream = dialer.connect("203.0.113.40:80");
    let mut heard = [0; 7];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"so far\n");
    stream.write_all(b".").unwrap();
    let error = stream.read(&mut heard).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(by_server.recv().unwrap(), "reset");
    drop(stream);
    dialer.finish();
}

#[test]
fn the_server_sees_where_the_app_came_from() {
    let world = World::new();
    let reports = servers::start("203.0.113.40", 443, |stream: TcpStream| {
        Ok(stream.peer_addr()?.ip().to_string())
    });
    let dialer = Dialer::start(world.weir());
    let mut stream = dialer.connect(FREE);
    stream.write_all(b"hello").unwrap();
    // The loopback device's own address: what an uncaptured connection to it comes from as well.
    assert_eq!(reports.recv().unwrap(), "203.0.113.40");
    drop(stream);
    dialer.finish();
}

#[test]
fn a_refused_connection_is_reset_and_a_dead_one_ends() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    // Nothing listens there. The app's connect() has succeeded; what it sees next is as near as can be.
    let mut stream = dialer.connect(FREE);
    stream.write_all(b"hello").unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(stream);
    dialer.finish();
}
