//! The client side: this test binary, started again inside a cgroup with a word of what to do.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Says what the client does: `WAY ADDRESS [MORE]`.
pub(crate) const VARIABLE: &str = "WEIR_CAPTURE_CLIENT";
/// Marks the client's lines among the test runner's.
pub(crate) const PREFIX: &str = "client: ";

/// Long enough for a burdened machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Does nothing unless it was started as a client.
#[test]
fn client() {
    let Ok(arguments) = std::env::var(VARIABLE) else {
        return;
    };
    let words: Vec<&str> = arguments.split(' ').collect();
    if words.starts_with(&["agent", "node"]) {
        return crate::node::serve(&words[2..]);
    }
    if words[0] == "agent" {
        return crate::agent::serve(&words[1..]);
    }
    if words[0] == "load" {
        return crate::load::run(&words[1..]);
    }
    let address: SocketAddr = words[1].parse().unwrap();
    let said = match words[0] {
        "blocking" => blocking(address, &|_| Ok(())),
        "bound" => {
            let source: SocketAddr = words[2].parse().unwrap();
            blocking(address, &|socket| socket.bind(&source.into()))
        }
        "device" => blocking(address, &|socket| socket.bind_device(Some(words[2].as_bytes()))),
        "nonblocking" => nonblocking(address),
        "abandoned" => abandoned(address, words[2].parse().unwrap()),
        "mptcp" => mptcp(address),
        "fastopen" => fast_open(address),
        "io_uring" => io_uring(address),
        "again" => again(address, words[2].parse().unwrap()),
        "descendant" => descendant(&arguments),
        "many" => many(&words[1..]),
        "https" => https(address, words[2], words[3]),
        "udp-connected" => udp_connected(address),
        "udp-unconnected" => udp_unconnected(address),
        other => panic!("unknown way {other}"),
    };
    // The test runner's own line is not finished yet.
    println!();
    match said {
        Ok(text) => println!("{PREFIX}{text}"),
        Err(error) => println!("{PREFIX}{}", name(&error)),
    }
}

fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// What the other side said, and who it claims to be.
fn heard(mut socket: Socket) -> io::Result<String> {
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    let peer = socket.peer_addr()?.as_socket().unwrap();
    Ok(format!("reached {text}, peer {peer}"))
}

fn blocking(address: SocketAddr, prepare: &dyn Fn(&Socket) -> io::Result<()>) -> io::Result<String> {
    let socket = tcp(address)?;
    prepare(&socket)?;
    socket.connect(&address.into())?;
    heard(socket)
}

fn mptcp(address: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::MPTCP))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&address.into())?;
    heard(socket)
}

fn nonblocking(address: SocketAddr) -> io::Result<String> {
    let socket = tcp(address)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
        other => panic!("a non-blocking connect is in progress, not {other:?}"),
    }
    // Asking again before it is through must change nothing.
    let _ = socket.connect(&address.into());
    wait(&socket, PollFlags::POLLOUT);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.set_nonblocking(false)?;
    heard(socket)
}

/// A connection for `host`, by TLS under the root in a file.
pub(crate) fn tls(
    address: SocketAddr,
    host: &str,
    root: &str,
) -> io::Result<rustls::StreamOwned<rustls::ClientConnection, Socket>> {
    let socket = tcp(address)?;
    socket.connect(&address.into())?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
    let connection = rustls::ClientConnection::new(std::sync::Arc::new(trusting(root)?), name).unwrap();
    Ok(rustls::StreamOwned::new(connection, socket))
}

/// TLS for who trusts the root in this file, and no other.
pub(crate) fn trusting(root: &str) -> io::Result<rustls::ClientConfig> {
    let (roots, _) = weir_agent::trust::roots_from_pem(&std::fs::read(root)?).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A call as an SDK makes it, for `host`, by TLS under the root in a file.
fn https(address: SocketAddr, host: &str, root: &str) -> io::Result<String> {
    let mut stream = tls(address, host, root)?;
    let body = r#"{"model":"gpt-4o","messages":[]}"#;
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        // The provider closes without a close_notify.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        outcome => drop(outcome?),
    }
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// Closes before an answer to the first SYN could come.
fn abandoned(address: SocketAddr, source: SocketAddr) -> io::Result<String> {
    let socket = tcp(address)?;
    socket.bind(&source.into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {
            let peer = socket.peer_addr().expect_err("no answer came");
            assert_eq!(peer.kind(), ErrorKind::NotConnected);
            Ok("abandoned".into())
        }
        other => panic!("a non-blocking connect is in progress, not {other:?}"),
    }
}

fn wait(socket: &Socket, what: PollFlags) {
    use std::os::fd::AsFd;
    let ready = poll(
        &mut [PollFd::new(socket.as_fd(), what)],
        PollTimeout::try_from(PATIENCE).unwrap(),
    );
    assert_eq!(ready, Ok(1), "the connection is ready in time");
}

/// The connect is part of the first send.
fn fast_open(address: SocketAddr) -> io::Result<String> {
    let mut socket = tcp(address)?;
    socket.send_to_with_flags(b"hello", &address.into(), nix::libc::MSG_FASTOPEN)?;
    socket.write_all(b"!")?;
    heard(socket)
}

#[allow(unsafe_code, reason = "a submission queue entry is a promise about pointers")]
fn io_uring(address: SocketAddr) -> io::Result<String> {
    use ::io_uring::{IoUring, opcode, types};
    let socket = tcp(address)?;
    let target = SockAddr::from(address);
    let mut ring = IoUring::new(4)?;
    let connect = opcode::Connect::new(
        types::Fd(socket.as_raw_fd()),
        target.as_ptr().cast(),
        target.len(),
    )
    .build();
    // SAFETY: socket and address outlive the wait below.
    unsafe { ring.submission().push(&connect) }.expect("the queue has room");
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().expect("one completion").result();
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    heard(socket)
}

/// A socket whose first connect is refused tries another address, as some clients do.
fn again(refused: SocketAddr, address: SocketAddr) -> io::Result<String> {
    let socket = tcp(address)?;
    let first = socket
        .connect(&refused.into())
        .expect_err("nobody listens at the first address");
    assert_eq!(first.kind(), ErrorKind::ConnectionRefused);
    socket.connect(&address.into())?;
    heard(socket)
}

/// The grandchild connects, in a session of its own, its parent gone: as a daemon does.
fn descendant(arguments: &str) -> io::Result<String> {
    let binary = std::env::current_exe()?;
    let script = format!(
        "(setsid {} client::client --exact --nocapture & echo)",
        binary.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env(VARIABLE, arguments.replacen("descendant", "blocking", 1))
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix(PREFIX))
        .unwrap_or(&text)
        .to_owned())
}

/// 50 connects to each address from 8 threads; says how many were told another destination than they dialled.
fn many(addresses: &[&str]) -> io::Result<String> {
    const EACH: usize = 50;
    let wrong: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                scope.spawn(move || {
                    let mut open = HashMap::new();
                    // All are opened before the first is read, so that they are in flight together.
                    for number in (worker..EACH * addresses.len()).step_by(8) {
                        let address: SocketAddr = addresses[number % addresses.len()].parse().unwrap();
                        let socket = tcp(address).unwrap();
                        socket.set_nonblocking(true).unwrap();
                        let _ = socket.connect(&address.into());
                        open.insert(number, (socket, address));
                    }
                    open.into_values()
                        .filter(|(socket, address)| {
                            wait(socket, PollFlags::POLLIN);
                            socket.set_nonblocking(false).unwrap();
                            let mut text = String::new();
                            let mut reader = socket;
                            reader.read_to_string(&mut text).is_err() || text != address.to_string()
                        })
                        .count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    Ok(format!("{} connections, {wrong} wrong", EACH * addresses.len()))
}

fn udp_connected(address: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&address.into())?;
    socket.send(b"hello")?;
    Ok("sent".into())
}

fn udp_unconnected(address: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.send_to(b"hello", &address.into())?;
    Ok("sent".into())
}
