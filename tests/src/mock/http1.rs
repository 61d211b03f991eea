//! HTTP/1 by hand: the order and case of headers, the framing of bodies and every way to break it have to be under the test's control.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connection::{Connection, Resettable};
use super::record::{BodyTally, Ending};
use super::reply::{Body, Reply, Step};
use super::route::{self, Head};

const LONGEST_HEAD: usize = 1 << 20;

/// A connection with what was read ahead of its parser.
struct Wire<S> {
    stream: S,
    buffer: BytesMut,
}

/// What is left of a request's body.
enum Framing {
    Length(u64),
    Chunked,
    Done,
}

/// Serves requests until either side closes.
pub(crate) async fn serve<S>(stream: S, connection: &Connection) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin + Send,
{
    let mut wire = Wire {
        stream,
        buffer: BytesMut::new(),
    };
    while let Some((head, version)) = wire.read_head().await? {
        let chunked = head
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let id = connection.begin(&head, version, chunked);
        let ending = exchange(&mut wire, connection, id, &head, chunked).await;
        connection
            .records
            .end(id, ending.as_ref().map_or(Ending::ClientGone, |ending| *ending));
        if ending? != Ending::Completed || wants_close(&head, version) {
            break;
        }
    }
    wire.stream.shutdown().await
}

/// RFC 9112, section 9.3.
fn wants_close(head: &Head, version: &str) -> bool {
    let connection = head.header("connection").unwrap_or_default();
    connection.eq_ignore_ascii_case("close")
        || (version == "HTTP/1.0" && !connection.eq_ignore_ascii_case("keep-alive"))
}

async fn exchange<S>(
    wire: &mut Wire<S>,
    connection: &Connection,
    id: usize,
    head: &Head,
    chunked: bool,
) -> io::Result<Ending>
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin + Send,
{
    if head.header("expect").is_some() {
        wire.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = head
        .header("content-length")
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    let mut framing = if chunked {
        Framing::Chunked
    } else {
        Framing::Length(length)
    };
    let mut tally = BodyTally::default();
    if let Some(reply) = route::before_body(&connection.settings, head) {
        connection
            .records
            .update(id, |record| record.status = reply.status);
        let head = head_of(&reply);
        return match reply.body {
            Body::Upgrade(first) => upgraded(wire, head, first).await,
            Body::Echo => echo(wire, connection, id, framing, head).await,
            Body::Full(_) | Body::Steps(_) => {
                // The body is left unread, as a server does that refuses early; nothing more can follow on this connection.
                write_reply(wire, connection, id, reply, true).await?;
                wire.stream.shutdown().await?;
                Ok(Ending::BrokenOff)
            }
        };
    }
    loop {
        match wire.next(&mut framing).await {
            Ok(Some(bytes)) => tally.push(&bytes),
            Ok(None) => break,
            Err(error) => {
                connection.records.body(id, &tally, true);
                return Err(error);
            }
        }
    }
    connection.records.body(id, &tally, false);
    match route::answer(&connection.settings, head, &tally.kept) {
        Some(reply) => write_reply(wire, connection, id, reply, false).await,
        None => Ok(Ending::BrokenOff),
    }
}

async fn write_reply<S>(
    wire: &mut Wire<S>,
    connection: &Connection,
    id: usize,
    reply: Reply,
    close: bool,
) -> io::Result<Ending>
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin + Send,
{
    let records = &connection.records;
    records.update(id, |record| record.status = reply.status);
    let mut head = head_of(&reply);
    if close {
        head.push_str("Connection: close\r\n");
    }
    let steps = match reply.body {
        Body::Full(bytes) => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len()));
            let whole = [head.as_bytes(), &bytes].concat();
            wire.write(&whole).await?;
            records.update(id, |record| record.sent = bytes.len() as u64);
            return Ok(Ending::Completed);
        }
        Body::Steps(steps) => steps,
        Body::Echo | Body::Upgrade(_) => return Ok(Ending::BrokenOff),
    };
    if reply.status != 0 {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        wire.write(head.as_bytes()).await?;
    }
    for step in steps {
        match step {
            Step::Data(bytes) => {
                wire.write(&chunk(&bytes)).await?;
                records.update(id, |record| record.sent += bytes.len() as u64);
            }
            Step::Raw(bytes) => wire.write(&bytes).await?,
            Step::Pause(length) => {
                tokio::select! {
                    () = tokio::time::sleep(length) => {}
                    error = wire.gone() => return Err(error),
                }
            }
            Step::Hold => return Err(wire.gone().await),
            Step::Reset => {
                wire.stream.reset()?;
                return Ok(Ending::BrokenOff);
            }
            Step::Close => {
                wire.stream.shutdown().await?;
                return Ok(Ending::BrokenOff);
            }
        }
    }
    wire.write(b"0\r\n\r\n").await?;
    Ok(Ending::Completed)
}

fn head_of(reply: &Reply) -> String {
    let reason = http::StatusCode::from_u16(reply.status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason.unwrap_or("Overloaded"));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

async fn echo<S>(
    wire: &mut Wire<S>,
    connection: &Connection,
    id: usize,
    mut framing: Framing,
    head: String,
) -> io::Result<Ending>
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin + Send,
{
    let head = head + "Transfer-Encoding: chunked\r\n\r\n";
    wire.stream.write_all(head.as_bytes()).await?;
    wire.stream.flush().await?;
    let mut tally = BodyTally::default();
    loop {
        let next = wire.next(&mut framing).await;
        if !matches!(next, Ok(Some(_))) {
            connection.records.body(id, &tally, next.is_err());
        }
        let Some(bytes) = next? else { break };
        tally.push(&bytes);
        wire.stream.write_all(&chunk(&bytes)).await?;
        wire.stream.flush().await?;
        connection
            .records
            .update(id, |record| record.sent += bytes.len() as u64);
    }
    wire.stream.write_all(b"0\r\n\r\n").await?;
    wire.stream.flush().await?;
    Ok(Ending::Completed)
}

async fn upgraded<S>(wire: &mut Wire<S>, head: String, first: Bytes) -> io::Result<Ending>
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin + Send,
{
    let head = head + "\r\n";
    wire.stream.write_all(head.as_bytes()).await?;
    wire.stream.write_all(&first).await?;
    loop {
        wire.stream.flush().await?;
        if wire.buffer.is_empty() && wire.stream.read_buf(&mut wire.buffer).await? == 0 {
            return Ok(Ending::BrokenOff);
        }
        let bytes = wire.buffer.split();
        wire.stream.write_all(&bytes).await?;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The next request's head; `None` where the client closed between requests.
    async fn read_head(&mut self) -> io::Result<Option<(Head, &'static str)>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 256];
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(&self.buffer).map_err(io::Error::other)?;
            if let httparse::Status::Complete(length) = parsed {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = request
                    .headers
                    .iter()
                    .map(|h| (h.name.to_owned(), text(h.value)))
                    .collect();
                let head = Head {
                    method: request.method.unwrap_or_default().to_owned(),
                    path: request.path.unwrap_or_default().to_owned(),
                    headers,
                };
                let version = if request.version == Some(0) {
                    "HTTP/1.0"
                } else {
                    "HTTP/1.1"
                };
                self.buffer.advance(length);
                return Ok(Some((head, version)));
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(io::Error::other("endless head"));
            }
            let clean = self.buffer.is_empty();
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if clean {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next piece of the request's body.
    async fn next(&mut self, framing: &mut Framing) -> io::Result<Option<Bytes>> {
        loop {
            match framing {
                Framing::Done | Framing::Length(0) => return Ok(None),
                Framing::Length(left) => {
                    if self.buffer.is_empty() {
                        self.fill().await?;
                    }
                    let take = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(self.buffer.len());
                    *left -= take as u64;
                    return Ok(Some(self.buffer.split_to(take).freeze()));
                }
                Framing::Chunked => match httparse::parse_chunk_size(&self.buffer) {
                    Ok(httparse::Status::Complete((start, size))) => {
                        let size = usize::try_from(size).map_err(io::Error::other)?;
                        // A chunk is taken whole: what a client sends as one arrives here as one.
                        while self.buffer.len() < start + size + 2 {
                            self.fill().await?;
                        }
                        self.buffer.advance(start);
                        let bytes = self.buffer.split_to(size).freeze();
                        self.buffer.advance(2);
                        if size == 0 {
                            *framing = Framing::Done;
                        } else {
                            return Ok(Some(bytes));
                        }
                    }
                    Ok(httparse::Status::Partial) => self.fill().await?,
                    Err(_) => return Err(io::Error::other("not a chunk size")),
                },
            }
        }
    }

    /// Writes all, or fails as soon as the client has left.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let writing = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let buffer = &mut self.buffer;
        let leaving = async {
            while reader.read_buf(buffer).await? != 0 {}
            Err::<(), io::Error>(io::ErrorKind::UnexpectedEof.into())
        };
        tokio::select! {
            biased;
            left = leaving => left,
            written = writing => written,
        }
    }

    /// Waits until the client has left.
    async fn gone(&mut self) -> io::Error {
        loop {
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}
