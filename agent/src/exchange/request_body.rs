//! A request's body on its way up: read as it passes, and changed, where it must be, by a splice of the bytes concerned.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use weir_ai::{Endpoint, Provider, RequestScan, Splice};
use weir_api::EffectivePolicy;

use super::headers;
use super::permission::{DeniedModel, Permission};
use super::refusal::Refusal;
use crate::upstream::{BodyError, RequestBody};

/// How much of a body is held back to see whether its end needs a splice. Held whole, its length stays known; a longer one goes on
/// without a `content-length`, in chunks.
const MOST_HELD_BYTES: usize = 1024 * 1024;

/// The same, for a body that comes in tiny pieces: each costs its own bookkeeping.
const MOST_HELD_FRAMES: usize = 1024;

/// A client that pauses for this long in the middle of its body wants the first part of it to be on its way.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The same, for a body whose length is known and can be held: it is more likely on its way here, and there are servers that take nothing
/// without a length (RFC 9110 §15.5.12).
const LONGEST_PAUSE_OF_KNOWN_LENGTH: Duration = Duration::from_millis(500);

/// A request's body as it came from the client.
pub(super) struct Body(Incoming);

/// What the agent sees of a request's body, now and later.
pub(super) struct Sight(Option<Arc<Mutex<Seen>>>);

struct Seen {
    scan: RequestScan,
    added_usage: bool,
    /// What remains to be seen before all of the body may go upstream; `None` where no policy restricts models.
    permission: Option<Permission>,
}

impl Seen {
    /// Whether what was seen may go on.
    fn permitted(&mut self, ended: bool) -> Result<(), DeniedModel> {
        match &mut self.permission {
            Some(permission) => permission.hold_against(self.scan.facts(), ended),
            None => Ok(()),
        }
    }
}

impl Sight {
    /// The model that it names.
    pub(super) fn model(&self) -> Option<String> {
        self.0
            .as_ref()
            .and_then(|seen| seen.lock().scan.facts().model.map(str::to_owned))
    }

    /// Whether the provider was asked to report usage where the client had not: the answer must not show it.
    pub(super) fn added_usage(&self) -> bool {
        self.0.as_ref().is_some_and(|seen| seen.lock().added_usage)
    }
}

impl Sight {
    /// Why the body was broken off: a policy denies the model that it names.
    pub(super) fn denied(&self) -> Option<DeniedModel> {
        let seen = self.0.as_ref()?.lock();
        seen.permission.as_ref()?.denied().cloned()
    }
}

impl Body {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self(incoming)
    }

    /// Sets the body on its way behind the request's head. Where models are restricted, the model is known before anything goes upstream, unless it
    /// stands behind more than is held: then the body breaks off before its end if the model is denied.
    pub(super) async fn prepare(
        self,
        mut head: http::request::Parts,
        endpoint: Endpoint,
        provider: Provider,
        policy: &Arc<EffectivePolicy>,
    ) -> Result<(Request<RequestBody>, Sight), Refusal> {
        let incoming = self.0;
        let readable = endpoint.reads_request() && !head.headers.contains_key(CONTENT_ENCODING);
        if !readable || incoming.is_end_stream() {
            policy
                .permits_model(endpoint, None)
                .map_err(|denial| Refusal::ModelDenied(DeniedModel::new(&denial, None)))?;
        }
        if incoming.is_end_stream() {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            return Ok((Request::from_parts(head, body), Sight(None)));
        }
        if !readable {
            let body = incoming.map_err(BodyError::from).boxed_unsync();
            return Ok((Request::from_parts(head, body), Sight(None)));
        }
        let mut seen = Seen {
            scan: RequestScan::new(endpoint),
            added_usage: false,
            permission: Permission::needed(policy, endpoint),
        };
        let splices = provider.stream_usage_on_request() && may_need_splice(endpoint);
        let mut body = if splices || seen.permission.is_some() {
            let held = Held::read(incoming, &mut seen).await?;
            if splices {
                held.splice(&mut seen, &mut head.headers)
            } else {
                held.unchanged()
            }
        } else {
            WatchedBody {
                ready: VecDeque::new(),
                rest: Some(incoming),
                seen: None,
                splicing: None,
            }
        };
        let seen = Arc::new(Mutex::new(seen));
        body.seen = Some(Arc::clone(&seen));
        Ok((Request::from_parts(head, body.boxed_unsync()), Sight(Some(seen))))
    }
}

/// The endpoints whose streams report usage only when asked to.
fn may_need_splice(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
}

/// The next frame, or an error where the client pauses.
///
/// Nearly always it came together with the head, and hyper hands it over at this task's next turn. Only then a timer is started, for
/// that costs a lock and often a system call.
async fn frame_before_pause(
    incoming: &mut Incoming,
    pause: Duration,
) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Elapsed> {
    let mut turns = 0;
    let at_hand = poll_fn(|context| match Pin::new(&mut *incoming).poll_frame(context) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending if turns > 0 => Poll::Ready(None),
        Poll::Pending => {
            turns += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match at_hand.await {
        Some(frame) => Ok(frame),
        None => timeout(pause, incoming.frame()).await,
    }
}

/// The first part of a body, or all of it.
struct Held {
    chunks: Vec<Frame<Bytes>>,
    bytes: u64,
    /// What the client has yet to send.
    rest: Option<Incoming>,
}

impl Held {
    async fn read(mut incoming: Incoming, seen: &mut Seen) -> Result<Self, Refusal> {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let pause = match incoming.size_hint().exact() {
            Some(length) if length <= MOST_HELD_BYTES as u64 => LONGEST_PAUSE_OF_KNOWN_LENGTH,
            _ => LONGEST_PAUSE,
        };
        while bytes < MOST_HELD_BYTES && chunks.len() < MOST_HELD_FRAMES && !incoming.is_end_stream() {
            let next = match frame_before_pause(&mut incoming, pause).await {
                Ok(next) => next,
                // Not before it is known to be permitted, however long that takes the client.
                Err(_) if seen.permission.as_ref().is_some_and(Permission::is_open) => incoming.frame().await,
                Err(_) => break,
            };
            let Some(frame) = next else {
                seen.permitted(true).map_err(Refusal::ModelDenied)?;
                return Ok(Self {
                    chunks,
                    bytes: bytes as u64,
                    rest: None,
                });
            };
            let frame = frame.map_err(|error| Refusal::from_request_body(&error))?;
            if let Some(data) = frame.data_ref() {
                seen.scan.push(data);
                bytes += data.len();
                let ended = incoming.is_end_stream();
                seen.permitted(ended).map_err(Refusal::ModelDenied)?;
            }
            chunks.push(frame);
        }
        let rest = (!incoming.is_end_stream()).then_some(incoming);
        Ok(Self {
            chunks,
            bytes: bytes as u64,
            rest,
        })
    }

    fn unchanged(self) -> WatchedBody {
        WatchedBody {
            ready: VecDeque::from(self.chunks),
            rest: self.rest,
            seen: None,
            splicing: None,
        }
    }

    fn splice(self, seen: &mut Seen, headers: &mut HeaderMap) -> WatchedBody {
        let mut ready = VecDeque::from(self.chunks);
        if self.rest.is_some() {
            // Whether and where it will be spliced shows at its end, so its length cannot be told now.
            headers::remove_in_order(headers, &[CONTENT_LENGTH]);
            return WatchedBody {
                ready,
                rest: self.rest,
                seen: None,
                splicing: Some(self.bytes),
            };
        }
        if let Some(splice) = seen.scan.usage_splice() {
            seen.added_usage = true;
            set_length(headers, self.bytes, &splice);
            // The event that comes of it has to be found in the answer again.
            headers::replace(headers, ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            apply(&mut ready, 0, splice);
        }
        WatchedBody {
            ready,
            rest: None,
            seen: None,
            splicing: None,
        }
    }
}

fn set_length(headers: &mut HeaderMap, bytes: u64, splice: &Splice) {
    if let Some(length) = headers.get_mut(CONTENT_LENGTH) {
        let removed = splice.range.end - splice.range.start;
        *length = HeaderValue::from(bytes - removed + splice.insert.len() as u64);
    }
}

/// Makes a splice in frames of which the first begins at `offset`. No byte outside the splice is copied.
fn apply(frames: &mut VecDeque<Frame<Bytes>>, mut offset: u64, splice: Splice) {
    let mut insert = Some(Bytes::from(splice.insert.into_owned()));
    for frame in std::mem::take(frames) {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                frames.push_back(trailers);
                continue;
            }
        };
        let end = offset + data.len() as u64;
        let within =
            |position: u64| usize::try_from(position.clamp(offset, end) - offset).unwrap_or(data.len());
        let (before, after) = (
            data.slice(..within(splice.range.start)),
            data.slice(within(splice.range.end)..),
        );
        let here = (offset..=end)
            .contains(&splice.range.start)
            .then(|| insert.take())
            .flatten();
        frames.extend(
            [Some(before), here, Some(after)]
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .map(Frame::data),
        );
        offset = end;
    }
}

/// A body that is read as it passes.
struct WatchedBody {
    /// Frames that have been read already.
    ready: VecDeque<Frame<Bytes>>,
    rest: Option<Incoming>,
    seen: Option<Arc<Mutex<Seen>>>,
    /// The offset of the next byte of `rest`, where the end of the body may yet need a splice.
    splicing: Option<u64>,
}

impl WatchedBody {
    /// Reads a frame of the rest, and gives what goes upstream first. The error is a denial, and nothing more goes.
    fn watch(&mut self, frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, BodyError> {
        let (Some(seen), Some(data)) = (&self.seen, frame.data_ref()) else {
            return Ok(Some(frame));
        };
        let mut seen = seen.lock();
        seen.scan.push(data);
        seen.permitted(self.rest.as_ref().is_none_or(Incoming::is_end_stream))?;
        let Some(offset) = self.splicing else {
            return Ok(Some(frame));
        };
        if !seen.scan.facts().complete {
            self.splicing = Some(offset + data.len() as u64);
            return Ok(Some(frame));
        }
        self.splicing = None;
        let next = match seen.scan.usage_splice() {
            // What has gone cannot be changed any more: a usage that was not asked for is counted as unread.
            Some(splice) if splice.range.start >= offset => {
                seen.added_usage = true;
                self.ready.push_back(frame);
                apply(&mut self.ready, offset, splice);
                self.ready.pop_front()
            }
            _ => Some(frame),
        };
        Ok(next)
    }

    /// The body has ended, which a client may say behind its last byte.
    fn end(&mut self) -> Result<(), BodyError> {
        self.rest = None;
        match &self.seen {
            Some(seen) => Ok(seen.lock().permitted(true)?),
            None => Ok(()),
        }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(rest).poll_frame(context)) {
                None => {
                    if let Err(denial) = self.end() {
                        return Poll::Ready(Some(Err(denial)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    if let Some(frame) = self.watch(frame).transpose() {
                        return Poll::Ready(Some(frame));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.rest.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ready: u64 = self
            .ready
            .iter()
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64)
            .sum();
        match &self.rest {
            None => SizeHint::with_exact(ready),
            Some(_) if self.splicing.is_some() => SizeHint::default(),
            Some(rest) => match rest.size_hint().exact() {
                Some(length) => SizeHint::with_exact(ready + length),
                None => SizeHint::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
