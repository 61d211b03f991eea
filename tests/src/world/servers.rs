//! Small servers that speak no HTTP: for what Weir has to relay as it is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::noise;

/// What a server says of each connection once it has ended.
pub type Reports = Receiver<String>;

/// Accepts at `address` for as long as the test lives and lets `serve` answer each connection on a thread of its own.
///
/// # Panics
/// If the address is taken.
pub fn start<F>(address: &str, port: u16, serve: F) -> Reports
where
    F: Fn(TcpStream) -> io::Result<String> + Send + Sync + Clone + 'static,
{
    let address = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
    let listener =
        TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
    // A thousand clients may come at once; std listens with a backlog of 128.
    nix::sys::socket::listen(
        &listener,
        nix::sys::socket::Backlog::new(4096).expect("within the limit"),
    )
    .expect("it is listening already");
    let (report, reports) = channel();
    std::thread::spawn(move || {
        // Ends with the process: a blocked accept cannot be told that the test is over, and costs nothing.
        for stream in listener.incoming().flatten() {
            let (serve, report) = (serve.clone(), report.clone());
            std::thread::spawn(move || {
                let line = serve(stream).unwrap_or_else(|error| format!("error: {:?}", error.kind()));
                // The test may have heard enough.
                let _ = report.send(line);
            });
        }
    });
    reports
}

/// A server that nobody reaches, though nothing refuses: its accept queue is full, and so the kernel drops every further SYN,
/// as a firewall would. It stays so for as long as the value lives.
#[derive(Debug)]
pub struct Blackhole {
    _listener: TcpListener,
    _waiting: TcpStream,
}

impl Blackhole {
    /// # Panics
    /// If the address is taken.
    pub fn start(address: &str, port: u16) -> Self {
        let address = SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port);
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        // Room for one: the kernel lets the queue grow until it is longer than this.
        nix::sys::socket::listen(
            &listener,
            nix::sys::socket::Backlog::new(0).expect("within the limit"),
        )
        .expect("it is listening already");
        let waiting = TcpStream::connect(address).expect("the first has room");
        // Readable: the one is in the queue, and not on its way there.
        let mut queue = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut queue, PollTimeout::NONE).expect("a listener can be polled");
        Self {
            _listener: listener,
            _waiting: waiting,
        }
    }
}

/// Says which address it was reached at before anything is sent, and then sends back what comes.
///
/// # Errors
/// As the connection's.
pub fn identity(mut stream: TcpStream) -> io::Result<String> {
    let line = format!("{}\n", stream.local_addr()?);
    stream.write_all(line.as_bytes())?;
    echo(stream)
}

/// Sends back what comes; ends its side when the client has ended its own.
///
/// # Errors
/// As the connection's.
pub fn echo(mut stream: TcpStream) -> io::Result<String> {
    let mut reader = stream.try_clone()?;
    let length = io::copy(&mut reader, &mut stream)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(format!("echoed {length}"))
}

/// Reads a line with a number, and sends that many bytes of noise.
///
/// # Errors
/// As the connection's.
pub fn source(mut stream: TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    let length = String::from_utf8_lossy(&line).parse().map_err(io::Error::other)?;
    noise::send(&mut stream, 1, length)
}

/// Reads until the client ends its side, and answers with length and SHA-256: only a kept half-close lets that through.
///
/// # Errors
/// As the connection's.
pub fn sink(mut stream: TcpStream) -> io::Result<String> {
    let (length, hash) = noise::receive(&mut stream)?;
    let line = format!("{length} {hash}");
    writeln!(stream, "{line}")?;
    Ok(line)
}

/// Sends a little and then resets.
///
/// # Errors
/// As the connection's.
pub fn reset(mut stream: TcpStream) -> io::Result<String> {
    stream.write_all(b"so far\n")?;
    let mut byte = [0];
    // The client has read that once it answers; a reset sent before could overtake it.
    stream.read_exact(&mut byte)?;
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
    Ok("reset".to_owned())
}
