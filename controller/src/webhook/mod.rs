//! The mutating webhook: gives the pods of labelled namespaces our root, placeholders for keys, and a container that waits for capture.

pub mod mutate;
pub mod review;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use mutate::Injection;

/// An AdmissionReview holds an object twice at most, and the API server takes none above 3 MiB.
const QUESTION_BYTES: usize = 8 * 1024 * 1024;
/// An API server sends its question at once, however long it waits for the answer.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// Questions that are read at once, each of up to [`QUESTION_BYTES`]. Those of an API server are small, and read as soon as they begin.
const QUESTIONS: usize = 8;
/// Questions that a connection may ask at once. The API server opens another connection for more.
const STREAMS: u32 = 16;
/// What of a question that waits to be read is here already. A connection takes as much of each, so that those that wait hold up none that is read.
const WINDOW_BYTES: u32 = 64 * 1024;
/// An API server that has gone without a word is noticed within this, twice.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// A connection is ended then, and an API server opens another: others take no place for ever.
const LASTS: Duration = Duration::from_secs(300);

/// What pods of a namespace are given, by the namespace and the pod.
pub type Injector = Arc<dyn Fn(&str, &Json) -> Option<Injection> + Send + Sync>;

/// What all connections share, so that memory is bounded, whoever asks and how often.
struct Desk {
    injector: Injector,
    /// Places for questions that are read.
    reading: Semaphore,
    /// As values a question takes many times its bytes, so that only one is at a time.
    parsing: Semaphore,
}

/// Answers on each connection until there are no more; those that are open then are finished.
pub async fn serve<C>(mut connections: mpsc::Receiver<std::io::Result<C>>, injector: Injector)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let open = TaskTracker::new();
    let desk = Arc::new(Desk {
        injector,
        reading: Semaphore::new(QUESTIONS),
        parsing: Semaphore::new(1),
    });
    while let Some(Ok(connection)) = connections.recv().await {
        let desk = Arc::clone(&desk);
        open.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&desk)));
            let mut server = auto::Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(TokioTimer::new())
                .max_buf_size(64 * 1024)
                .header_read_timeout(ASKED_WITHIN);
            server
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(STREAMS * WINDOW_BYTES)
                .keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE);
            let serving = server.serve_connection(TokioIo::new(connection), service);
            let mut serving = std::pin::pin!(serving);
            let served = tokio::select! {
                served = &mut serving => served,
                () = tokio::time::sleep(LASTS) => {
                    serving.as_mut().graceful_shutdown();
                    // What it is asking now is answered by then.
                    match timeout(2 * ASKED_WITHIN, serving).await {
                        Ok(served) => served,
                        Err(_) => return,
                    }
                }
            };
            if let Err(error) = served {
                tracing::debug!("a connection to the webhook has ended: {error}");
            }
        });
    }
    open.close();
    open.wait().await;
}

async fn answer(request: Request<Incoming>, desk: Arc<Desk>) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |status, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/mutate" {
        return Ok(plain(
            StatusCode::NOT_FOUND,
            "the webhook is at /mutate\n".to_owned(),
        ));
    }
    if request.method() != Method::POST {
        return Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "POST an AdmissionReview\n".to_owned(),
        ));
    }
    let Ok(Ok(_place)) = timeout(ASKED_WITHIN, desk.reading.acquire()).await else {
        return Ok(plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many questions are being asked: ask again\n".to_owned(),
        ));
    };
    let question = timeout(
        ASKED_WITHIN,
        Limited::new(request.into_body(), QUESTION_BYTES).collect(),
    );
    let question = match question.await {
        Ok(Ok(question)) => question.to_bytes(),
        Ok(Err(error)) => return Ok(plain(StatusCode::BAD_REQUEST, format!("{error}\n"))),
        Err(_) => {
            return Ok(plain(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come\n".to_owned(),
            ));
        }
    };
    // It is never closed.
    let _turn = desk.parsing.acquire().await;
    Ok(
        match review::answer(&question, |namespace, pod| (desk.injector)(namespace, pod)) {
            Ok(answer) => {
                let mut response = Response::new(Full::from(answer));
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                response
            }
            Err(error) => plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const BODY: &str = r#"{"apiVersion":"admission.k8s.io/v1","request":{"uid":"1"}}"#;
    /// Time stands still until nothing else is left to be done, so that what has not come within it never would.
    const LONG: Duration = Duration::from_secs(5);

    /// A webhook, and a way to connect to it.
    struct Webhook(mpsc::Sender<std::io::Result<DuplexStream>>);

    impl Webhook {
        fn new() -> Self {
            let (connect, connections) = mpsc::channel(1);
            tokio::spawn(serve(connections, Arc::new(|_: &str, _: &Json| None)));
            Self(connect)
        }

        /// A connection on which the head of a question was sent, and that much of its body.
        async fn ask(&self, body: &str) -> DuplexStream {
            let (mut ours, theirs) = tokio::io::duplex(4096);
            self.0.send(Ok(theirs)).await.unwrap();
            let head = format!(
                "POST /mutate HTTP/1.1\r\nhost: weir\r\ncontent-length: {}\r\n\r\n",
                BODY.len()
            );
            ours.write_all(head.as_bytes()).await.unwrap();
            ours.write_all(body.as_bytes()).await.unwrap();
            ours
        }
    }

    /// The status of the answer.
    async fn status(connection: &mut DuplexStream) -> String {
        let mut line = [0; 12];
        connection.read_exact(&mut line).await.unwrap();
        String::from_utf8_lossy(&line[9..]).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_questions_are_read_at_once_and_no_more() {
        let webhook = Webhook::new();
        let (begun, rest) = BODY.split_at(10);
        let mut slow = Vec::new();
        for _ in 0..QUESTIONS {
            slow.push(webhook.ask(begun).await);
        }
        let mut next = webhook.ask(BODY).await;
        assert!(timeout(LONG, status(&mut next)).await.is_err(), "it waits");
        slow[0].write_all(rest.as_bytes()).await.unwrap();
        assert_eq!(status(&mut slow[0]).await, "200");
        assert_eq!(timeout(LONG, status(&mut next)).await.unwrap(), "200");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_ask_to_the_end_loses_the_place() {
        let webhook = Webhook::new();
        let mut slow = webhook.ask(&BODY[..10]).await;
        assert_eq!(status(&mut slow).await, "408");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_disconnected() {
        let webhook = Webhook::new();
        let (mut ours, theirs) = tokio::io::duplex(4096);
        webhook.0.send(Ok(theirs)).await.unwrap();
        assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
