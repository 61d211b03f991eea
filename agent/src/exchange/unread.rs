//! The body of a request that was refused before it was read.

use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::AnswerBody;

/// More is not waited for: the connection ends instead.
const MOST_BYTES: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_millis(500);

/// The body, not read yet.
pub(super) struct Unread {
    pub(super) body: Incoming,
    /// Its client waits to be asked for it.
    pub(super) waits: bool,
}

/// Whether a request's client waits to be asked for its body (RFC 9110 §10.1.1).
pub(super) fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

impl Unread {
    pub(super) fn of(request: Request<Incoming>) -> Self {
        Self {
            waits: waits(request.headers()),
            body: request.into_body(),
        }
    }

    /// Reads it away before the refusal is sent, for in HTTP/1.1 the next request comes after it: many clients send head and body apart, so that
    /// it has often not come yet when the refusal is ready. If it is too long or too slow the connection can't go on, and its client is told so.
    pub(super) async fn read_away(self, mut refusal: Response<AnswerBody>) -> Response<AnswerBody> {
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
