//! What is not ours passes through untouched: bytes, half-closes and resets.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::telemetry::Traffic;

/// Bytes moved in one read. Larger ones fall out of the processor's cache, smaller ones cost system calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// Buffers kept for reuse. A relay holds one only while it has bytes in hand, so that idle ones cost nothing.
const SPARE_BUFFERS: usize = 32;

static SPARES: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Relays until both sides have ended, beginning with what the client has said already. Bytes are counted as they are passed on.
///
/// An error on either side resets the other: neither must take a broken stream for a finished one.
pub(crate) async fn relay(
    said: Bytes,
    client: TcpStream,
    server: TcpStream,
    traffic: &Traffic,
) -> io::Result<()> {
    let outcome = async {
        write_all(&server, &said).await?;
        traffic.sent.fetch_add(said.len() as u64, Relaxed);
        drop(said);
        tokio::try_join!(
            pump(&client, &server, &traffic.sent),
            pump(&server, &client, &traffic.received)
        )
    }
    .await;
    if let Err(error) = outcome {
        reset(client);
        reset(server);
        return Err(error);
    }
    Ok(())
}

/// Closes a connection by RST instead of FIN.
pub(crate) fn reset(stream: TcpStream) {
    // Where this fails the socket is gone already.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

async fn pump(from: &TcpStream, to: &TcpStream, bytes: &AtomicU64) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut buffer = Buffer::take();
        loop {
            match from.try_read(buffer.bytes()) {
                Ok(0) => return end_writing(to),
                Ok(count) => {
                    write_all(to, &buffer.bytes()[..count]).await?;
                    bytes.fetch_add(count as u64, Relaxed);
                    // These reads and writes take no part in tokio's budget: while both sides keep up, nobody else on this worker
                    // would have a turn.
                    tokio::task::coop::consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

fn end_writing(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(Shutdown::Write) {
        // It has closed its side altogether: there is nothing left to tell it.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A buffer on loan.
struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    fn take() -> Self {
        let spare = SPARES.lock().pop();
        Self(Some(
            spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()),
        ))
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.0
            .as_deref_mut()
            .expect("a buffer is given back only by drop")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spares = SPARES.lock();
        if spares.len() < SPARE_BUFFERS {
            spares.extend(self.0.take());
        }
    }
}
