//! What the mock answers: a head and a script of steps for the body.

use std::time::Duration;

use bytes::Bytes;

/// One step of an answer's body.
#[derive(Debug, Clone)]
pub enum Step {
    /// Bytes of the body; in a chunked answer a chunk of their own.
    Data(Bytes),
    /// Bytes on the connection as they are, past all framing (HTTP/1 only; in HTTP/2 like `Data`).
    Raw(Bytes),
    /// Silence of that length: the pace of the provider, not a wait of the test's.
    Pause(Duration),
    /// Silence until the client leaves.
    Hold,
    /// The connection is reset (RST), in HTTP/2 the stream.
    Reset,
    /// The connection is closed although the body is not complete.
    Close,
}

/// The body of an answer.
pub enum Body {
    /// Known whole: sent with a content-length.
    Full(Bytes),
    /// Sent chunked, step by step.
    Steps(Box<dyn Iterator<Item = Step> + Send>),
    /// The request's own body, sent back as it arrives.
    Echo,
    /// `101 Switching Protocols`, then whatever arrives is sent back after these bytes.
    Upgrade(Bytes),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(bytes) => write!(formatter, "Full({} bytes)", bytes.len()),
            Self::Steps(_) => formatter.write_str("Steps"),
            Self::Echo => formatter.write_str("Echo"),
            Self::Upgrade(_) => formatter.write_str("Upgrade"),
        }
    }
}

/// An answer before it is framed.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// In the order and case in which HTTP/1 sends them.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: Body,
}

impl Reply {
    /// JSON, whole.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self {
            status,
            headers,
            body: Body::Full(Bytes::from(body.into())),
        }
    }

    /// A stream of server-sent events, each a chunk of its own.
    pub fn events(events: Vec<String>) -> Self {
        let headers = vec![
            (
                "Content-Type".to_owned(),
                "text/event-stream; charset=utf-8".to_owned(),
            ),
            ("Cache-Control".to_owned(), "no-cache".to_owned()),
        ];
        let steps = events.into_iter().map(|event| Step::Data(Bytes::from(event)));
        Self {
            status: 200,
            headers,
            body: Body::Steps(Box::new(steps)),
        }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
