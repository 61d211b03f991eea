//! Serves HTTP on a connection whose host a backend answers for.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::exchange::{Connection, MOST_HEAD_BYTES};
use crate::upstream::Protocol;

/// The longest request head that is read. An exchange refuses one half as long with an error that says why; beyond this there is
/// no exchange, only a 431 without a body.
const MOST_READ_HEAD_BYTES: usize = 2 * MOST_HEAD_BYTES;

/// The most streams that a client of HTTP/2 may have open at a time; more wait. Each may hold a request body of its own.
const MOST_STREAMS: u32 = 250;

/// Serves requests until the client or an error ends the connection.
///
/// There are no idle limits: the provider has its own, and what it closes is opened again for the next request.
///
/// `draining` asks the client to leave, with nothing cut: by GOAWAY in HTTP/2; in HTTP/1 by `connection: close` on the next answer, for to
/// close a connection that is idle now might cross the client's next request.
///
/// Not an `async fn`: that would keep room for the stream, which hyper has taken over, as long as the connection is open.
pub(super) fn serve<S>(
    connection: Arc<Connection>,
    stream: S,
    draining: &CancellationToken,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    let protocol = connection.protocol;
    let (leaves, leaving) = (draining.clone(), draining.clone());
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        let leaves = leaves.clone();
        // Boxed, for hyper keeps the room for an exchange with each connection that waits for one.
        Box::pin(async move {
            let mut response = connection.serve(request).await.ready().await;
            // A switched connection is no longer HTTP's to close.
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if protocol == Protocol::Http1 && leaves.is_cancelled() && !switches {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let serving: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = match protocol {
        Protocol::Http1 => Box::pin(
            hyper::server::conn::http1::Builder::new()
                .preserve_header_case(true)
                .auto_date_header(false)
                .header_read_timeout(None)
                .max_header_size(MOST_READ_HEAD_BYTES)
                .serve_connection(io, service)
                .with_upgrades(),
        ),
        Protocol::Http2 => Box::pin(async move {
            let mut serving = pin!(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .auto_date_header(false)
                    .max_concurrent_streams(MOST_STREAMS)
                    .max_header_list_size(MOST_READ_HEAD_BYTES as u32)
                    .serve_connection(io, service)
            );
            tokio::select! {
                ended = serving.as_mut() => return ended,
                () = leaving.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            serving.await
        }),
    };
    async move {
        if let Err(error) = serving.await {
            // A client that goes away in the middle, or does not speak HTTP. Its exchanges have settled themselves.
            tracing::debug!(%error, "HTTP connection ended");
        }
    }
}
