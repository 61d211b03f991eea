//! An answer's body on its way down: bytes pass as they came, and are read as they pass.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use weir_ai::{Dialect, ErrorReply, ResponseScan};

use super::Connection;
use super::event_boundary::EventBoundary;
use super::headers::{self, HeaderChanges};
use super::idle::IdleLimit;
use super::refusal::Refusal;
use super::reshape::Reshape;
use super::settlement::{Settlement, TRUNCATED};
use super::upgrade::Switch;
use crate::telemetry::record::Outcome;
use crate::upstream::{BodyError, Lease};

/// The body of an answer to a client.
pub(crate) enum AnswerBody {
    /// Weir's own.
    Ours(Option<Bytes>),
    /// The provider's.
    Theirs(Box<Observed>),
}

/// The provider's answer, before somebody has taken on to settle it.
pub(super) struct Answer(Source);

enum Source {
    Body(Box<Theirs>),
    Switch(Switch),
}

struct Theirs {
    incoming: Incoming,
    /// The connection, for the next exchange once this answer has been read to its end.
    lease: Option<Lease>,
    /// Set where the stream carries an event that the client did not ask for.
    reshape: Option<Reshape>,
    /// Set for a stream of events that reaches the client in plain text: where an error of ours may be told.
    events: Option<EventBoundary>,
    /// Set where a policy says how long the provider may be silent.
    idle: Option<IdleLimit>,
    dialect: Dialect,
    /// Only the end of its connection ends it (RFC 9112 §6.3, the last rule).
    ended_by_close: bool,
}

/// The provider's answer on its way to the client.
pub(crate) struct Observed {
    theirs: Theirs,
    /// Bytes that have been reshaped and wait to be sent.
    reshaped: VecDeque<Bytes>,
    /// Nothing more will come from upstream.
    ended: bool,
    /// How it broke off, where the client has to see its connection break.
    failure: Option<BodyError>,
    settlement: Settlement,
}

/// Makes the provider's answer ready for the client.
pub(super) fn observe(
    connection: &Connection,
    response: Response<Incoming>,
    lease: Lease,
    idle_limit: Option<Duration>,
    settlement: &mut Settlement,
) -> Result<Response<Answer>, Refusal> {
    let (mut head, incoming) = response.into_parts();
    let framed = [CONTENT_LENGTH, TRANSFER_ENCODING]
        .iter()
        .any(|name| head.headers.contains_key(name));
    let ended_by_close = head.version <= Version::HTTP_11 && !framed;
    // The version is a matter of each connection: a server of HTTP/1.0 is no reason to close the client's.
    head.version = Version::HTTP_11;
    let content_type = text(&head.headers, CONTENT_TYPE);
    let content_encoding = text(&head.headers, CONTENT_ENCODING);
    let stream = has_media_type(content_type, "text/event-stream");
    if head.status.is_server_error() {
        settlement.note("weir_upstream_failed");
        if !stream && !is_json(content_type) {
            return Err(Refusal::Failed {
                host: connection.host.to_string(),
                status: head.status,
                retry_after: head.headers.remove(RETRY_AFTER),
            });
        }
    }
    settlement.streams(stream);
    if head.status.is_success() && settlement.endpoint().counts_tokens() {
        settlement.scan(ResponseScan::new(
            settlement.endpoint(),
            content_type,
            content_encoding,
        ));
    }
    let reshape = if stream && settlement.added_usage() {
        Reshape::new(content_encoding)
    } else {
        None
    };
    let plain = reshape.is_some() || content_encoding.is_none_or(|encoding| encoding == "identity");
    let events = (stream && plain).then(EventBoundary::default);
    let mut changes = HeaderChanges::default();
    if reshape.is_some() {
        changes.remove(CONTENT_LENGTH);
        changes.remove(CONTENT_ENCODING);
    }
    headers::forward_response(&mut head.headers, connection.protocol, changes);
    let dialect = settlement.dialect();
    let theirs = Theirs {
        incoming,
        lease: Some(lease),
        reshape,
        events,
        idle: idle_limit.map(IdleLimit::new),
        dialect,
        ended_by_close,
    };
    Ok(Response::from_parts(head, Answer(Source::Body(Box::new(theirs)))))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn has_media_type(content_type: Option<&str>, media_type: &str) -> bool {
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// `application/json`, or a format that is built on it (RFC 6839 §3.1).
fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

fn is_unexpected_eof(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::UnexpectedEof;
        }
        cause = error.source();
    }
    false
}

impl Answer {
    pub(super) fn switching(switch: Switch) -> Self {
        Self(Source::Switch(switch))
    }

    /// From here on the settlement goes with the bytes.
    pub(super) fn settled_by(self, mut settlement: Settlement) -> AnswerBody {
        match self.0 {
            Source::Switch(switch) => {
                tokio::spawn(switch.run(settlement));
                AnswerBody::Ours(None)
            }
            Source::Body(mut theirs) => {
                let ended = theirs.incoming.is_end_stream();
                if ended {
                    theirs.complete(&mut settlement);
                }
                AnswerBody::Theirs(Box::new(Observed {
                    theirs: *theirs,
                    reshaped: VecDeque::new(),
                    ended,
                    failure: None,
                    settlement,
                }))
            }
        }
    }
}

impl Theirs {
    fn complete(&mut self, settlement: &mut Settlement) {
        settlement.complete();
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// The event that tells the client that its stream broke off, if it can still be told.
    fn truncation(&self, reason: &(dyn Error + Send + Sync)) -> Option<Bytes> {
        if !self.events.as_ref()?.at_boundary() {
            return None;
        }
        let message = format!("The provider's stream broke off before its end ({reason}).");
        let status = http::StatusCode::BAD_GATEWAY;
        Some(self.dialect.error_event(&ErrorReply {
            status,
            code: TRUNCATED,
            message: &message,
        }))
    }
}

impl Observed {
    fn poll_upstream(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(bytes) = self.reshaped.pop_front() {
                self.delivered(&bytes);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(reshape) = self.theirs.reshape.as_mut().filter(|reshape| reshape.has_input()) {
                if let Err(error) = reshape.step(&mut self.reshaped) {
                    self.broken(error);
                }
                continue;
            }
            if self.ended {
                let Some(mut reshape) = self.theirs.reshape.take() else {
                    return Poll::Ready(self.last_word());
                };
                reshape.finish(&mut self.reshaped);
                if self.failure.is_none() {
                    self.theirs.complete(&mut self.settlement);
                }
                continue;
            }
            let polled = Pin::new(&mut self.theirs.incoming).poll_frame(context);
            if let Some(idle) = &mut self.theirs.idle {
                if polled.is_ready() {
                    idle.heard();
                } else if let Poll::Ready(error) = idle.poll_exceeded(context) {
                    self.broken(error);
                    continue;
                }
            }
            match ready!(polled) {
                Some(Ok(frame)) => {
                    if let Some(frame) = self.observe(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) if self.is_end(&error) => self.end(),
                Some(Err(error)) => self.broken(error),
                None => self.end(),
            }
        }
    }

    /// Reads a frame, and lets it pass or takes it to be reshaped.
    fn observe(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        if let Some(data) = frame.data_ref() {
            self.settlement.chunk(data);
        }
        let passed = match (&mut self.theirs.reshape, frame.into_data()) {
            (Some(reshape), Ok(data)) => {
                reshape.push(data, &mut self.reshaped);
                None
            }
            (None, Ok(data)) => {
                self.delivered(&data);
                Some(Frame::data(data))
            }
            (_, Err(trailers)) => Some(trailers),
        };
        // A client that has read as many bytes as it was promised may stop polling: this may be the last we hear of it.
        if self.theirs.incoming.is_end_stream() {
            self.end();
        }
        passed
    }

    fn delivered(&mut self, bytes: &[u8]) {
        if let Some(events) = &mut self.theirs.events {
            events.push(bytes);
        }
    }

    /// Whether this is the end after all. Many servers close without TLS's `close_notify`, Python's own among them; clients of OpenSSL
    /// take that for the end where nothing else tells it. So it is here, unless what was read says that something is missing.
    fn is_end(&self, error: &hyper::Error) -> bool {
        self.theirs.ended_by_close && is_unexpected_eof(error) && self.settlement.finished() != Some(false)
    }

    /// Nothing more comes from upstream. What has yet to be decoded may turn out to be broken.
    fn end(&mut self) {
        self.ended = true;
        if !self.theirs.reshape.as_ref().is_some_and(Reshape::has_input) {
            self.theirs.complete(&mut self.settlement);
        }
    }

    /// The answer broke off. What has come of it goes to the client first.
    fn broken(&mut self, error: impl Into<BodyError>) {
        self.ended = true;
        self.failure = Some(error.into());
        self.settlement.settle(Outcome::Truncated, Some(TRUNCATED));
    }

    /// What the client is given after the last byte.
    fn last_word(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let failure = self.failure.take()?;
        match self.theirs.truncation(failure.as_ref()) {
            Some(event) => Some(Ok(Frame::data(event))),
            // The client sees its connection break, as it would have without us.
            None => Some(Err(failure)),
        }
    }
}

impl AnswerBody {
    pub(super) fn ours(body: Bytes) -> Self {
        Self::Ours(Some(body))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Ours(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Theirs(observed) => observed.poll_upstream(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours(body) => body.is_none(),
            Self::Theirs(observed) => {
                let left = !observed.reshaped.is_empty() || observed.theirs.reshape.is_some();
                observed.ended && !left && observed.failure.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Theirs(observed) if observed.theirs.reshape.is_some() => SizeHint::default(),
            Self::Theirs(observed) => observed.theirs.incoming.size_hint(),
        }
    }
}
