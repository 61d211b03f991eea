//! Work below HTTP: connect() itself, and bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::Outcome;

/// The median time of a blocking connect(). Each connection ends with a reset, so that none is left waiting for its last packets.
pub(super) fn connects(target: SocketAddr, count: usize) -> Outcome<u64> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let stream = TcpStream::connect(target)?;
        times.push(began.elapsed());
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    times.sort_unstable();
    Ok(u64::try_from(times[count / 2].as_nanos())?)
}

/// Asks for so many bytes, and reads them.
pub(super) fn pull(target: SocketAddr, count: u64) -> Outcome<u64> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(target)?;
    stream.write_all(&count.to_be_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 if read == count => return Ok(u64::try_from(began.elapsed().as_nanos())?),
            0 => return Err(format!("{read} bytes came of {count}").into()),
            length => read += length as u64,
        }
    }
}

/// Sends so many bytes, and waits until they are taken.
pub(super) fn push(target: SocketAddr, count: u64) -> Outcome<u64> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(target)?;
    stream.write_all(&0_u64.to_be_bytes())?;
    let buffer = vec![0; 256 * 1024];
    let mut left = count;
    while left > 0 {
        let piece = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&buffer[..piece])?;
        left -= piece as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let end = stream.read(&mut [0])?;
    if end == 0 {
        Ok(u64::try_from(began.elapsed().as_nanos())?)
    } else {
        Err("bytes came that nobody asked for".into())
    }
}
