//! Reads a connection's first bytes; dials the server if the client stays silent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::sniff::{Sniffer, Verdict};
use crate::upstream::CONNECT_LIMIT;
use crate::upstream::Dialler;

/// How long a client may be silent before the server is asked whether it speaks first.
const LONGEST_SILENCE: Duration = Duration::from_millis(200);

/// How long a client may pause in the middle of what it says first.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a connection began with.
pub(super) struct FirstBytes {
    pub(super) stream: TcpStream,
    pub(super) bytes: Bytes,
    pub(super) verdict: Verdict,
    /// The connection to the original destination, where it had to be made to see who speaks first.
    pub(super) server: Option<TcpStream>,
}

impl FirstBytes {
    /// Reads until there is a verdict. The error is the client's: it has gone, or stopped in the middle of a hello.
    pub(super) async fn read(
        mut stream: TcpStream,
        destination: SocketAddr,
        dialler: &Dialler,
    ) -> io::Result<Self> {
        let server = match who_speaks_first(&stream, destination, dialler).await? {
            First::Client(server) => server,
            First::Server(server) => {
                let (bytes, verdict) = (Bytes::new(), Verdict::Other);
                return Ok(Self {
                    stream,
                    bytes,
                    verdict,
                    server: Some(server),
                });
            }
        };
        let mut sniffer = Sniffer::new();
        let mut bytes = BytesMut::with_capacity(2048);
        loop {
            let verdict = match timeout(LONGEST_PAUSE, stream.read_buf(&mut bytes)).await {
                Ok(count) => match count? {
                    // The client has said all it will: what there is goes to the real server as it is.
                    0 => Verdict::Other,
                    _ => sniffer.verdict(&bytes),
                },
                // No server answers half a hello. Relayed, it would be the way around: a pause, and nobody looks.
                Err(_) if sniffer.has_seen_tls() => return Err(io::ErrorKind::TimedOut.into()),
                // It may be waiting for an answer: what looks like the beginning of a request can be the whole of another protocol's.
                Err(_) => Verdict::Other,
            };
            if !matches!(verdict, Verdict::More) {
                return Ok(Self {
                    stream,
                    bytes: bytes.freeze(),
                    verdict,
                    server,
                });
            }
        }
    }
}

enum First {
    /// With the connection to the server, where it had to be made.
    Client(Option<TcpStream>),
    Server(TcpStream),
}

async fn who_speaks_first(
    client: &TcpStream,
    destination: SocketAddr,
    dialler: &Dialler,
) -> io::Result<First> {
    // `peek` and not `readable`: a socket fresh from accept counts as readable until a read has shown that it isn't.
    if let Ok(spoken) = timeout(LONGEST_SILENCE, client.peek(&mut [0])).await {
        spoken?;
        return Ok(First::Client(None));
    }
    let mut byte = [0];
    let dialled = tokio::select! {
        biased;
        spoken = client.peek(&mut byte) => {
            spoken?;
            return Ok(First::Client(None));
        }
        dialled = dialler.dial(destination, CONNECT_LIMIT) => dialled,
    };
    // A server that cannot be reached says nothing; a backend's endpoint may stand in for it.
    let Ok(server) = dialled else {
        client.peek(&mut [0]).await?;
        return Ok(First::Client(None));
    };
    let (mut clients, mut servers) = ([0], [0]);
    let server_first = tokio::select! {
        biased;
        spoken = client.peek(&mut clients) => { spoken?; false }
        // Its end, or its error, is for the relay to pass on.
        _ = server.peek(&mut servers) => true,
    };
    Ok(if server_first {
        First::Server(server)
    } else {
        First::Client(Some(server))
    })
}
