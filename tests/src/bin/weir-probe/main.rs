//! A client for what no ordinary client does. It runs under `weir run`; what it saw it prints for the test to judge.

mod bytes;
mod hello;
mod tls;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use clap::{Parser, Subcommand};
use weir_tests::noise;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A request over TLS, with a hello of any form.
    Tls(tls::Arguments),
    /// A hello larger than any real one, to a server that echoes it.
    OversizedHello { address: SocketAddr },
    /// Standard input to the connection, and what comes back to standard output.
    Raw {
        address: SocketAddr,
        /// Then these bytes (`\r` and `\n` as in C) again and again, until the connection is closed.
        #[arg(long)]
        repeat: Option<String>,
        /// Ends our side once everything is sent.
        #[arg(long)]
        half_close: bool,
    },
    /// Sends that many bytes, ends our side, and prints the server's word on what it got.
    Upload { address: SocketAddr, length: u64 },
    /// Asks for that many bytes and prints their length and SHA-256.
    Download { address: SocketAddr, length: u64 },
    /// Connects many times at once; every server has to say that it is the one dialled.
    Parallel {
        count: usize,
        addresses: Vec<SocketAddr>,
    },
    /// Connects, prints the first line that the server says, sends one byte and prints how the connection ended.
    Listen { address: SocketAddr },
    /// Connects, says a line, hears it back, and resets.
    Reset { address: SocketAddr },
    /// Sends a datagram from an unconnected and a connected socket, and prints what came of it.
    Datagram { address: SocketAddr },
}

fn main() -> io::Result<()> {
    match Arguments::parse().command {
        Command::Tls(arguments) => tls::run(&arguments),
        Command::OversizedHello { address } => hello::oversized(address),
        Command::Raw {
            address,
            repeat,
            half_close,
        } => bytes::raw(address, repeat.as_deref(), half_close),
        Command::Upload { address, length } => upload(address, length),
        Command::Download { address, length } => download(address, length),
        Command::Parallel { count, addresses } => parallel(count, &addresses),
        Command::Listen { address } => listen(address),
        Command::Reset { address } => reset(address),
        Command::Datagram { address } => bytes::datagram(address),
    }
}

/// A line on standard output, at once: the test may be waiting for it.
fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn upload(address: SocketAddr, length: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let hash = noise::send(&mut stream, 2, length)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    say(&format!("sent {length} {hash}"))?;
    say(&format!("server {}", answer.trim_end()))
}

fn download(address: SocketAddr, length: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{length}")?;
    let (length, hash) = noise::receive(&mut stream)?;
    say(&format!("{length} {hash}"))
}

fn parallel(count: usize, addresses: &[SocketAddr]) -> io::Result<()> {
    let barrier = std::sync::Barrier::new(count);
    let wrong = std::thread::scope(|scope| {
        let one = |number: usize| -> io::Result<bool> {
            let address = *addresses
                .get(number % addresses.len())
                .ok_or(io::ErrorKind::InvalidInput)?;
            barrier.wait();
            let stream = TcpStream::connect(address)?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line.trim_end() == address.to_string())
        };
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || one(number)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .filter(|right| !matches!(right, Ok(true)))
            .count()
    });
    say(&format!("{count} connections, {wrong} wrong"))
}

fn listen(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    say(&format!("heard {}", line.trim_end()))?;
    (&stream).write_all(b".")?;
    let mut rest = Vec::new();
    match reader.read_to_end(&mut rest) {
        Ok(_) => say("ended"),
        Err(error) => say(&format!("ended with {:?}", error.kind())),
    }
}

fn reset(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"one line\n")?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
    say("reset")
}
