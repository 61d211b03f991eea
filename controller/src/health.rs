//! Health, readiness and metrics, without TLS: for the kubelet and for Prometheus.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::configuration::Configuration;
use crate::discovery::agents::Agents;

/// A connection is for one question, and is over by then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Connections that are open at once: whoever opens many and says nothing can take no more than these.
const CONNECTIONS: usize = 256;
/// A question has no body, and a head of some hundred bytes.
const BUFFER_BYTES: usize = 16 * 1024;
const ACCEPTED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What is looked at.
#[derive(Clone)]
pub struct Health {
    /// What the objects come to.
    pub configuration: watch::Receiver<Option<Arc<Configuration>>>,
    /// Whether the discovery service has a certificate.
    pub discovery: watch::Receiver<Option<Arc<str>>>,
    /// Whether the webhook has one.
    pub webhook: watch::Receiver<Option<Arc<str>>>,
    /// Who is connected.
    pub agents: Agents,
    /// Whether this replica holds the Lease.
    pub is_holder: watch::Receiver<bool>,
    /// Whether it is about to end.
    pub ending: watch::Receiver<bool>,
}

impl Health {
    /// What is still missing until agents and pods can be served.
    fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.configuration.borrow().is_none() {
            missing.push("what the API server has is not known yet");
        }
        if self.discovery.borrow().is_none() {
            missing.push("the discovery service has no certificate yet");
        }
        if self.webhook.borrow().is_none() {
            missing.push("the webhook has no certificate yet");
        }
        if *self.ending.borrow() {
            missing.push("this replica ends");
        }
        missing
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::default();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        gauge(
            "weir_controller_agents",
            "Agents that are connected to this replica",
            self.agents.count(),
        );
        let captured = self
            .agents
            .states()
            .iter()
            .map(|state| state.captured_pods.len())
            .sum();
        gauge(
            "weir_controller_captured_pods",
            "Pods that the agents which are connected to this replica capture",
            captured,
        );
        gauge(
            "weir_controller_holds_lease",
            "Whether this replica writes statuses",
            usize::from(*self.is_holder.borrow()),
        );
        let configuration = self.configuration.borrow().clone().unwrap_or_default();
        gauge(
            "weir_controller_backends",
            "AIBackends that are served",
            configuration.backends.len(),
        );
        gauge(
            "weir_controller_policies",
            "AIPolicies that are served",
            configuration.policies.len(),
        );
        gauge(
            "weir_controller_leaves",
            "Hosts that have a certificate",
            configuration.leaves.len(),
        );
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        match path {
            // It answers: what Kubernetes could mend by starting it anew is not the matter.
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match self.missing()[..] {
                [] => (StatusCode::OK, "ok\n".to_owned()),
                ref missing => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("{}\n", missing.join("\n")),
                ),
            },
            "/metrics" => (StatusCode::OK, self.metrics()),
            _ => (StatusCode::NOT_FOUND, "/healthz, /readyz, /metrics\n".to_owned()),
        }
    }
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, health: Health) {
    serve_at_most(CONNECTIONS, listener, health).await;
}

async fn serve_at_most(connections: usize, listener: TcpListener, health: Health) {
    let connections = Arc::new(Semaphore::new(connections));
    loop {
        let Ok(counted) = Arc::clone(&connections).acquire_owned().await else {
            return; // it is never closed
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPTED_AGAIN_AFTER).await;
            continue;
        };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (status, text) = health.answer(request.uri().path());
                let mut response = Response::new(Full::<Bytes>::from(text));
                *response.status_mut() = status;
                std::future::ready(Ok::<_, Infallible>(response))
            });
            // A client that leaves in the middle is its own affair.
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            let _ = timeout(ANSWERED_WITHIN, served).await;
            drop(counted);
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    fn health() -> Health {
        Health {
            configuration: watch::channel(None).1,
            discovery: watch::channel(None).1,
            webhook: watch::channel(None).1,
            agents: Agents::default(),
            is_holder: watch::channel(false).1,
            ending: watch::channel(false).1,
        }
    }

    /// Time stands still until nothing else is left to be done.
    #[tokio::test(start_paused = true)]
    async fn those_who_say_nothing_take_no_more_than_their_places_and_not_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve_at_most(2, listener, health()));
        let _silent = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        let began = Instant::now();
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: weir\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(began.elapsed() >= ANSWERED_WITHIN, "it waited for a place");
        serving.abort();
    }
}
