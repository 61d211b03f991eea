//! HTTP/2 by hyper: its framing is not what is under test.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::record::{BodyTally, Ending};
use super::reply::{Body, Reply, Step};
use super::route::{self, Head};

type ReplyBody = BoxBody<Bytes, std::io::Error>;

/// Serves streams until either side closes.
pub(crate) async fn serve<S>(stream: S, connection: Arc<Connection>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| exchange(request, connection.clone()));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// Ends the record however the stream's answer ends: hyper drops a body that nobody reads any more.
struct Settle {
    connection: Arc<Connection>,
    id: usize,
    completed: bool,
}

impl Settle {
    fn complete(&mut self) {
        self.completed = true;
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        let ending = if self.completed {
            Ending::Completed
        } else {
            Ending::ClientGone
        };
        self.connection.records.end(self.id, ending);
    }
}

async fn exchange(
    request: Request<Incoming>,
    connection: Arc<Connection>,
) -> Result<Response<ReplyBody>, std::io::Error> {
    let (parts, mut incoming) = request.into_parts();
    let mut headers: Vec<(String, String)> = Vec::new();
    if let Some(authority) = parts.uri.authority() {
        headers.push((":authority".to_owned(), authority.to_string()));
    }
    headers.extend(parts.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    }));
    let path = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let head = Head {
        method: parts.method.to_string(),
        path,
        headers,
    };
    let id = connection.begin(&head, "HTTP/2", false);
    let mut settle = Settle {
        connection: connection.clone(),
        id,
        completed: false,
    };
    let records = connection.records.clone();
    let early = route::before_body(&connection.settings, &head);
    let mut tally = BodyTally::default();
    if let Some(Reply { body: Body::Echo, .. }) = early {
        return Ok(echo(incoming, settle));
    }
    if early.is_none() {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                records.body(id, &tally, true);
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            if let Ok(bytes) = frame.into_data() {
                tally.push(&bytes);
            }
        }
        records.body(id, &tally, false);
    }
    let reply = match early {
        Some(reply) => reply,
        None => match route::answer(&connection.settings, &head, &tally.kept) {
            Some(reply) => reply,
            None => {
                records.end(id, Ending::BrokenOff);
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
        },
    };
    records.update(id, |record| record.status = reply.status);
    if reply.status == 0 {
        std::future::pending::<()>().await;
    }
    let mut response =
        Response::builder().status(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK));
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.as_str()),
        ) {
            response = response.header(name, value);
        }
    }
    let body = match reply.body {
        Body::Full(bytes) => {
            records.update(id, |record| record.sent = bytes.len() as u64);
            settle.complete();
            Full::new(bytes)
                .map_err(|never: Infallible| match never {})
                .boxed()
        }
        Body::Steps(steps) => pump(steps, settle),
        Body::Echo | Body::Upgrade(_) => Full::new(Bytes::new())
            .map_err(|never: Infallible| match never {})
            .boxed(),
    };
    response.body(body).map_err(std::io::Error::other)
}

/// Runs the script in a task of its own; the channel's single place keeps it at the client's pace.
fn pump(steps: Box<dyn Iterator<Item = Step> + Send>, mut settle: Settle) -> ReplyBody {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let records = settle.connection.records.clone();
        for step in steps {
            let sent = match step {
                Step::Data(bytes) | Step::Raw(bytes) => {
                    let length = bytes.len() as u64;
                    let sent = sender.send(Ok(Frame::data(bytes))).await;
                    records.update(settle.id, |record| record.sent += length);
                    sent
                }
                Step::Pause(length) => {
                    tokio::time::sleep(length).await;
                    Ok(())
                }
                Step::Hold => {
                    sender.closed().await;
                    return;
                }
                Step::Reset | Step::Close => {
                    records.end(settle.id, Ending::BrokenOff);
                    let _ = sender.send(Err(std::io::ErrorKind::ConnectionReset.into())).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
        settle.complete();
    });
    BodyExt::boxed(Channel(receiver))
}

fn echo(mut incoming: Incoming, mut settle: Settle) -> Response<ReplyBody> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let records = settle.connection.records.clone();
        let mut tally = BodyTally::default();
        records.update(settle.id, |record| record.status = 200);
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Ok(bytes) = frame.into_data() {
                tally.push(&bytes);
                if sender.send(Ok(Frame::data(bytes))).await.is_err() {
                    return;
                }
                records.update(settle.id, |record| record.sent = tally.length);
            }
        }
        records.body(settle.id, &tally, false);
        settle.complete();
    });
    Response::new(BodyExt::boxed(Channel(receiver)))
}

/// A body fed from a channel.
struct Channel(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context)
    }
}
