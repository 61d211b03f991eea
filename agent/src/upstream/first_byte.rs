//! How long a server may take to begin its answer once it has the whole request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::sender::{BodyError, RequestBody};

/// The request, and a future that is ready when `limit` has passed since all of it was sent.
pub(super) fn limited(
    request: Request<RequestBody>,
    limit: Duration,
) -> (Request<RequestBody>, Pin<Box<impl Future<Output = ()> + Send>>) {
    let (sent, all_sent) = oneshot::channel();
    let request = request.map(|body| TellsEnd { body, _sent: sent }.boxed_unsync());
    // Boxed, for few have a limit, and all would have the room for it.
    let silence = Box::pin(async move {
        // Closed by being dropped, which is how it tells.
        let _ = all_sent.await;
        tokio::time::sleep(limit).await;
    });
    (request, silence)
}

/// Whoever sends a body drops it as soon as it has its end.
struct TellsEnd {
    body: RequestBody,
    _sent: oneshot::Sender<()>,
}

impl Body for TellsEnd {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
