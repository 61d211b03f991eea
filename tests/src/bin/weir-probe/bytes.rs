//! Bytes as they are.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};

use crate::say;

/// Standard input first, then the repetition, while what comes back goes to standard output.
pub(crate) fn raw(address: SocketAddr, repeat: Option<&str>, half_close: bool) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reader = stream.try_clone()?;
    let reading = std::thread::spawn(move || copy_at_once(&mut reader));
    let sent = send(&stream, repeat);
    if half_close {
        stream.shutdown(Shutdown::Write)?;
    }
    if let Err(error) = &sent {
        say(&format!("[sending ended with {:?}]", error.kind()))?;
    }
    match reading.join() {
        Ok(Ok(())) => say("[closed]"),
        Ok(Err(error)) => say(&format!("[{:?}]", error.kind())),
        Err(_) => Err(io::Error::other("the reading thread panicked")),
    }
}

fn send(mut stream: &TcpStream, repeat: Option<&str>) -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut stream)?;
    if let Some(repeat) = repeat {
        let piece = repeat.replace("\\r", "\r").replace("\\n", "\n").repeat(1024);
        loop {
            stream.write_all(piece.as_bytes())?;
        }
    }
    Ok(())
}

fn copy_at_once(reader: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16384];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        output.write_all(buffer.get(..length).unwrap_or_default())?;
        output.flush()?;
    }
}

/// What sendto and connect with send make of `address`.
pub(crate) fn datagram(address: SocketAddr) -> io::Result<()> {
    let bind = || match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let outcome = |result: io::Result<()>| match result {
        Ok(()) => "sent".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    say(&format!(
        "unconnected: {}",
        outcome(bind()?.send_to(b"initial", address).map(drop))
    ))?;
    let socket = bind()?;
    let connected = socket
        .connect(address)
        .and_then(|()| socket.send(b"initial").map(drop));
    say(&format!("connected: {}", outcome(connected)))
}
