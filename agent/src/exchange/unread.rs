//! The body of a request that was refused before it was read.

use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::AnswerBody;
use super::refusal::Refusal;
use crate::upstream::Protocol;

/// More is not waited for: the connection ends instead.
const MOST_BYTES: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_millis(500);

/// A refusal, and what of its request has not been read.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// None where reading it had begun.
    pub(super) unread: Option<Unread>,
}

impl Refused {
    /// Of a request of which nothing but the head was looked at.
    pub(super) fn unread(refusal: Refusal, request: Request<Incoming>) -> Box<Self> {
        Box::new(Self {
            refusal,
            unread: Some(Unread::of(request)),
        })
    }

    pub(super) fn answered(self, response: Response<AnswerBody>, protocol: Protocol) -> Answered {
        let unread = self.unread.filter(|_| protocol == Protocol::Http1);
        Answered {
            response,
            unread: unread.map(Box::new),
        }
    }
}

/// An answer, which may have to wait for the end of its request.
pub(crate) struct Answered {
    response: Response<AnswerBody>,
    /// Boxed: it is for refusals alone.
    unread: Option<Box<Unread>>,
}

impl Answered {
    pub(super) fn whole(response: Response<AnswerBody>) -> Self {
        Self {
            response,
            unread: None,
        }
    }

    /// The answer, once the connection can go on after it or its client is told that it can't.
    pub(crate) async fn ready(self) -> Response<AnswerBody> {
        match self.unread {
            Some(unread) => Box::pin(unread.read_away(self.response)).await,
            None => self.response,
        }
    }
}

impl From<Refusal> for Box<Refused> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused {
            refusal,
            unread: None,
        })
    }
}

/// The body, not read yet.
pub(crate) struct Unread {
    pub(super) body: Incoming,
    /// Its client waits to be asked for it.
    pub(super) waits: bool,
}

/// Whether a request's client waits to be asked for its body (RFC 9110 §10.1.1).
pub(super) fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

impl Unread {
    fn of(request: Request<Incoming>) -> Self {
        Self {
            waits: waits(request.headers()),
            body: request.into_body(),
        }
    }

    /// Reads it away before the refusal is sent, for in HTTP/1.1 the next request comes after it: many clients send head and body apart, so that
    /// it has often not come yet when the refusal is ready. If it is too long or too slow the connection can't go on, and its client is told so.
    async fn read_away(self, mut refusal: Response<AnswerBody>) -> Response<AnswerBody> {
        if !self.ends().await {
            let close = HeaderValue::from_static("close");
            refusal.headers_mut().insert(CONNECTION, close);
        }
        refusal
    }

    async fn ends(mut self) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        if self.waits || self.body.size_hint().lower() > MOST_BYTES as u64 {
            return false;
        }
        let reading = async {
            let mut read = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else {
                    return false;
                };
                read += frame.data_ref().map_or(0, |data| data.len());
                if read > MOST_BYTES {
                    return false;
                }
            }
            true
        };
        timeout(LIMIT, reading).await.unwrap_or(false)
    }
}
