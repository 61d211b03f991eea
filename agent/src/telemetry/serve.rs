//! `--metrics ADDR`: GET /metrics, and for an agent /healthz and /readyz; nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Telemetry;
use crate::lifecycle::Readiness;

/// Scrapers at once; each holds a rendering.
const CONNECTIONS: usize = 32;
/// For a request's head, and so for how long an idle connection stays.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the metrics can't be served.
#[derive(Debug, Error)]
#[error(
    "--metrics {address}: {source}; choose another port (0 takes a free one), or an address of this machine"
)]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A bound listener that is not serving yet: whatever is wrong with the address is known before the command starts.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    readiness: Option<Readiness>,
}

impl MetricsServer {
    /// Binds `address`.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let error = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self {
            listener,
            address,
            readiness: None,
        })
    }

    /// Also answers /healthz, and /readyz with what is still waited for.
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        Self {
            readiness: Some(readiness),
            ..self
        }
    }

    /// Where it listens: the port is the one that was given, or the one that 0 became.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready; then open connections are dropped.
    pub async fn run(self, telemetry: Telemetry, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let telemetry = telemetry.clone();
                    let readiness = self.readiness.clone();
                    connections.spawn(async move {
                        let service = service_fn(|request: Request<Incoming>| {
                            let answer = answer(&telemetry, readiness.as_ref(), &request);
                            std::future::ready(Ok::<_, Infallible>(answer))
                        });
                        // What a scraper does to its connection is its own business.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(HEAD_TIMEOUT)
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(error) => {
                    tracing::warn!("--metrics {}: {error}", self.address);
                    // Out of descriptors, most likely: accept() would fail again at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

fn answer<B>(
    telemetry: &Telemetry,
    readiness: Option<&Readiness>,
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    match (request.uri().path(), readiness) {
        ("/metrics", _) => {}
        ("/healthz", Some(_)) => return text(StatusCode::OK, "ok\n"),
        ("/readyz", Some(readiness)) => return ready(readiness),
        _ => return text(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"),
    }
    if request.method() != Method::GET {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "the metrics can only be read: GET /metrics\n",
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let open_metrics = telemetry.render_metrics();
    let (content_type, body) = if accepts_open_metrics(request.headers()) {
        (OPEN_METRICS, open_metrics)
    } else {
        (PLAIN, to_plain(&open_metrics))
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    match readiness.waiting_for().as_slice() {
        [] => text(StatusCode::OK, "ready\n"),
        parts => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for {}\n", parts.join(", ")),
        ),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .any(|value| memchr::memmem::find(value.as_bytes(), b"application/openmetrics-text").is_some())
}

/// The older format, for curl, browsers and scrapers that know no other: there a counter's family has the name of its
/// samples, with `_total`, and no end is marked.
fn to_plain(open_metrics: &str) -> String {
    let mut plain = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            continue;
        }
        // HELP comes before the TYPE that says whether it is a counter's.
        let of_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let family = of_counter(line)
            || (line.starts_with("# HELP ") && lines.peek().is_some_and(|next| of_counter(next)));
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            [hash, keyword, name, rest] if family => {
                plain.push_str(&format!("{hash} {keyword} {name}_total {rest}\n"));
            }
            _ => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
