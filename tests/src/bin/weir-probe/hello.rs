//! ClientHellos in every packing (RFC 8446, sections 4.1.2 and 5.1).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::say;

/// How a hello is put on the wire.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Packing {
    /// As the library writes it.
    Whole,
    /// Every byte a segment of its own.
    Bytes,
    /// Over many records of 32 bytes each.
    Records,
}

/// Writes the hello, which is one or more whole records.
pub(crate) fn write(stream: &mut TcpStream, hello: &[u8], packing: Packing) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match packing {
        Packing::Whole => stream.write_all(hello),
        Packing::Bytes => {
            // Without delay each write is a segment, unless the window is full.
            hello.iter().try_for_each(|byte| stream.write_all(&[*byte]))
        }
        Packing::Records => stream.write_all(&in_records(hello, 32)),
    }
}

/// The same handshake bytes in records of at most `size`.
fn in_records(records: &[u8], size: usize) -> Vec<u8> {
    let mut handshake = Vec::new();
    let mut rest = records;
    while let [_, _, _, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (fragment, next) = after.split_at(length.min(after.len()));
        handshake.extend_from_slice(fragment);
        rest = next;
    }
    handshake.chunks(size).flat_map(record).collect()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fragment.len()).expect("fragments are at most 2^14");
    let [high, low] = length.to_be_bytes();
    [&[22, 3, 1, high, low], fragment].concat()
}

/// 100,000 bytes of hello: well-formed as far as it goes, and beyond what anyone buffers. The server echoes; all of it must come back.
pub(crate) fn oversized(address: SocketAddr) -> io::Result<()> {
    let mut handshake = vec![1, 1, 0x86, 0xa0, 3, 3];
    handshake.resize(4 + 100_000, 0x5a);
    let hello: Vec<u8> = handshake.chunks(16_384).flat_map(record).collect();
    let mut stream = TcpStream::connect(address)?;
    let mut reader = stream.try_clone()?;
    let reading = std::thread::spawn(move || {
        let mut echoed = Vec::new();
        reader.read_to_end(&mut echoed).map(|_| echoed)
    });
    stream.write_all(&hello)?;
    stream.shutdown(Shutdown::Write)?;
    let echoed = reading
        .join()
        .map_err(|_| io::Error::other("the reading thread panicked"))??;
    say(if echoed == hello {
        "echoed unchanged"
    } else {
        "changed"
    })
}
