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
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::serve::Connection;
use mutate::Injection;

/// An AdmissionReview holds an object twice at most, and the API server takes none above 3 MiB.
const QUESTION_BYTES: usize = 8 * 1024 * 1024;
/// The API server waits 5 s for the answer; by then it has long sent its question.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

/// What pods of a namespace are given, by the namespace and the pod.
pub type Injector = Arc<dyn Fn(&str, &Json) -> Option<Injection> + Send + Sync>;

/// Answers on each connection until there are no more; those that are open then are finished.
pub async fn serve(mut connections: mpsc::Receiver<std::io::Result<Connection>>, injector: Injector) {
    let open = TaskTracker::new();
    while let Some(Ok(connection)) = connections.recv().await {
        let injector = Arc::clone(&injector);
        open.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&injector)));
            let mut server = auto::Builder::new(TokioExecutor::new());
            server
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(ASKED_WITHIN);
            server.http2().timer(TokioTimer::new());
            if let Err(error) = server.serve_connection(TokioIo::new(connection), service).await {
                tracing::debug!("a connection to the webhook has ended: {error}");
            }
        });
    }
    open.close();
    open.wait().await;
}

async fn answer(request: Request<Incoming>, injector: Injector) -> Result<Response<Full<Bytes>>, Infallible> {
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
    let question = tokio::time::timeout(
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
    Ok(
        match review::answer(&question, |namespace, pod| injector(namespace, pod)) {
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
