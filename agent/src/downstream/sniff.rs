//! What a client speaks, told from its first bytes alone.
//!
//! Pure: bytes in, a verdict out. Nothing is answered here, so whatever the verdict, the bytes can still
//! be relayed as if nobody had looked.

use rustls::server::{Accepted, Acceptor};

/// The most bytes that are held while a verdict is out: a TLS handshake message may be 64 KiB (RFC 8446 §4
/// allows 16 MiB; nobody sends more), and this leaves room for its record headers. Beyond it: relay.
pub(crate) const MOST_SNIFFED_BYTES: usize = 72 * 1024;

/// The longest HTTP/1 method that starts a request worth reading on (`PROPPATCH`, and room).
const LONGEST_METHOD: usize = 16;

/// What the first bytes are.
pub(crate) enum Verdict {
    /// Not enough bytes to tell.
    More,
    /// A whole ClientHello; the handshake can go on from here.
    Tls(Box<Accepted>),
    /// A whole HTTP/1 request head, sent in plaintext, for this host (lower case, no port).
    PlaintextHttp {
        /// `None` where the request names no host.
        host: Option<String>,
    },
    /// Neither, or broken: none of Weir's business.
    Other,
}

/// Reads a client's first bytes as they come.
pub(crate) struct Sniffer {
    state: State,
    /// How many bytes the acceptor has been given.
    fed: usize,
}

enum State {
    Undecided,
    Tls(Box<Acceptor>),
    Http,
    Decided,
}

impl Sniffer {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Undecided,
            fed: 0,
        }
    }

    /// Whether a TLS handshake has begun.
    pub(crate) fn has_seen_tls(&self) -> bool {
        matches!(self.state, State::Tls(_))
    }

    /// Takes all bytes that have come so far (each call repeats those of the last) and says what they are.
    pub(crate) fn verdict(&mut self, bytes: &[u8]) -> Verdict {
        if let State::Undecided = self.state {
            self.state = match bytes.first() {
                None => return Verdict::More,
                // A TLS record of type handshake (RFC 8446 §5.1).
                Some(0x16) => State::Tls(Box::default()),
                Some(byte) if byte.is_ascii_uppercase() => State::Http,
                Some(_) => State::Decided,
            };
        }
        let verdict = match &mut self.state {
            State::Undecided | State::Decided => Verdict::Other,
            State::Tls(acceptor) => feed(acceptor, bytes, &mut self.fed),
            State::Http => request_head(bytes),
        };
        if matches!(verdict, Verdict::More) && bytes.len() >= MOST_SNIFFED_BYTES {
            return Verdict::Other;
        }
        verdict
    }
}

fn feed(acceptor: &mut Acceptor, bytes: &[u8], fed: &mut usize) -> Verdict {
    while *fed < bytes.len() {
        match acceptor.read_tls(&mut &bytes[*fed..]) {
            Ok(0) | Err(_) => return Verdict::Other,
            Ok(count) => *fed += count,
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Verdict::Tls(Box::new(accepted)),
            // The alert that comes with the error is not sent: the real server will say what it thinks of this hello.
            Err(_) => return Verdict::Other,
        }
    }
    Verdict::More
}

fn request_head(bytes: &[u8]) -> Verdict {
    let method = bytes
        .iter()
        .take(LONGEST_METHOD)
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    match bytes.get(method) {
        None if method < LONGEST_METHOD => return Verdict::More,
        Some(b' ') => {}
        _ => return Verdict::Other,
    }
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => Verdict::More,
        // Any other form of target is for a proxy (RFC 9112 §3.2.2, §3.2.3), and a proxy's address was dialled.
        Ok(httparse::Status::Complete(_)) if request.path.is_some_and(is_origin_form) => {
            let host = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("host"))
                .and_then(|header| std::str::from_utf8(header.value).ok())
                .map(|value| crate::exchange::host::without_port(value).to_ascii_lowercase());
            Verdict::PlaintextHttp { host }
        }
        _ => Verdict::Other,
    }
}

fn is_origin_form(target: &str) -> bool {
    target.starts_with('/') || target == "*"
}

#[cfg(test)]
mod tests;
