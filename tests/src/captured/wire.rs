//! HTTP/1.1 by hand, from either side: what was sent, byte for byte, and no more read than asked for.

use std::io::{self, Read, Write};

/// A connection with what was read ahead of its parser.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    ahead: Vec<u8>,
}

/// The head of a request or an answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Without its line end.
    pub start: String,
    /// In order and case.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// An answer's status.
    pub fn status(&self) -> u16 {
        let word = self.start.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or(0)
    }

    /// The names of all headers.
    pub fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// A message with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its head.
    pub head: Message,
    /// Its body, without framing.
    pub body: Vec<u8>,
}

impl Whole {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<S: Read + Write> Wire<S> {
    /// Nothing read yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    /// What it runs on.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The same, to be written to past this.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As the connection's.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends a chunk (RFC 9112, section 7.1).
    ///
    /// # Errors
    /// As the connection's.
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// As the connection's.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> io::Result<Whole> {
        self.send(request)?;
        self.whole()
    }

    /// The next message with its body.
    ///
    /// # Errors
    /// As the connection's; `UnexpectedEof` where it ends in the middle.
    pub fn whole(&mut self) -> io::Result<Whole> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Ok(Whole { head, body })
    }

    /// The next message's head.
    ///
    /// # Errors
    /// As the connection's; `UnexpectedEof` where it ends first.
    pub fn head(&mut self) -> io::Result<Message> {
        let head = self.until(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect();
        Ok(Message { start, headers })
    }

    /// The body behind a head, read as its framing says; answers without a length end with the connection.
    ///
    /// # Errors
    /// As the connection's; `UnexpectedEof` where it ends in the middle.
    pub fn body(&mut self, head: &Message) -> io::Result<Vec<u8>> {
        let chunked = head
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        if chunked {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
            return Ok(body);
        }
        if let Some(length) = head.header("content-length") {
            return self.take(length.parse().map_err(io::Error::other)?);
        }
        let answer = head.start.starts_with("HTTP/");
        if answer && !matches!(head.status(), 100..200 | 204 | 304) {
            return self.rest();
        }
        Ok(Vec::new())
    }

    /// The next chunk; `None` is the last, its trailers read and dropped.
    ///
    /// # Errors
    /// As the connection's; `InvalidData` where there is no chunk.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.until(b"\r\n")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let size = line.trim_end().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("no chunk size: {line:?}")))?;
        if size == 0 {
            while self.until(b"\r\n")? != b"\r\n" {}
            return Ok(None);
        }
        let chunk = self.take(size)?;
        self.take(2)?;
        Ok(Some(chunk))
    }

    /// Exactly that many bytes.
    ///
    /// # Errors
    /// As the connection's; `UnexpectedEof` where it ends first.
    pub fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.fill()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// Everything up to and including `end`.
    ///
    /// # Errors
    /// As the connection's; `UnexpectedEof` where it ends first.
    pub fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(end.len()).position(|window| window == end) {
                return Ok(self.ahead.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    /// Everything up to the connection's end.
    ///
    /// # Errors
    /// As the connection's. A TLS connection closed without close_notify has ended too.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.ahead));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the other side to end the connection, by whatever means, and gives what came until then.
    pub fn ending(&mut self) -> (Vec<u8>, io::Result<()>) {
        let outcome = loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (std::mem::take(&mut self.ahead), outcome)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16384];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.ahead
                    .extend_from_slice(buffer.get(..length).unwrap_or_default());
                Ok(())
            }
        }
    }
}
