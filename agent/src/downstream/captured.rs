//! The answers to `weir await-capture`, which proves that a pod is captured by a connection through it.
//!
//! They are a contract: `weir await-capture` is run from the image that a pod was made with, and answered by an agent of any later version.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weir_api::{Auth, Snapshot};

/// The host that is asked for; `weir await-capture` dials [`ADDRESS`], where nobody is.
pub const HOST: &str = "capture.weir.internal";

/// The path at which a pod is told its [`introduction`]: any but [`SERVED`].
pub const INTRODUCTION: &str = "/captured";

/// The path at which a pod is told which hosts are opened for it: a JSON list of [`ServedHost`]s.
pub const SERVED: &str = "/served";

/// TEST-NET-1 (RFC 5737): uncaptured, nothing answers there.
pub const ADDRESS: &str = "192.0.2.80:80";

/// What becomes of a pod's connections where those to backends' hosts are opened.
pub const INTERCEPTED: &str = "intercepted";

const CAPTURED_AS: &str = "captured as ";

/// The line that a pod is told: who it is, where, and what becomes of its connections, which is [`INTERCEPTED`] or something else.
pub fn introduction(pod: impl fmt::Display, node: &str, treatment: &str) -> String {
    format!("{CAPTURED_AS}{pod} on {node}: {treatment}")
}

/// Whether a line is an [`introduction`].
pub fn is_introduction(line: &str) -> bool {
    line.starts_with(CAPTURED_AS)
}

/// Whether an [`introduction`] says that the pod is intercepted.
pub fn is_intercepted(line: &str) -> bool {
    is_introduction(line)
        && line
            .rsplit_once(": ")
            .is_some_and(|(_, treatment)| treatment == INTERCEPTED)
}

/// A host whose connections Weir opens for a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedHost {
    /// Its name.
    pub host: String,
    /// The backend that answers for it, as `NAMESPACE/NAME`.
    pub backend: String,
    /// The provider's key under `spec.provider`.
    pub provider: String,
    /// Whether Weir puts a key in; otherwise the pod's own goes through.
    pub puts_key_in: bool,
}

/// The hosts that backends of `snapshot` answer for to workloads of `namespace`: a JSON list of [`ServedHost`]s.
pub(super) fn served(snapshot: &Snapshot, namespace: &str) -> String {
    let backends = snapshot.backends().iter();
    let hosts = backends.flat_map(|backend| {
        snapshot.hosts_of(backend, namespace).map(move |host| ServedHost {
            host: host.clone(),
            backend: format!("{}/{}", backend.namespace, backend.name),
            provider: backend.provider.field().to_owned(),
            puts_key_in: !matches!(backend.auth, Auth::Passthrough),
        })
    });
    let hosts: Vec<ServedHost> = hosts.collect();
    // Serialising texts to memory cannot fail.
    serde_json::to_string(&hosts).unwrap_or_default()
}

/// Whether a request, which begins with these bytes, is for [`SERVED`].
pub(super) fn asks_what_is_served(request: &[u8]) -> bool {
    let target = request.split(|byte| *byte == b' ').nth(1);
    target == Some(SERVED.as_bytes())
}

/// Answers with one line, and closes.
pub(super) async fn answer(mut stream: TcpStream, line: &str) -> io::Result<()> {
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{line}\n",
        line.len() + 1
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::{INTERCEPTED, asks_what_is_served, introduction, is_intercepted, is_introduction};

    #[test]
    fn a_pod_is_told_what_becomes_of_its_connections() {
        let line = introduction("shop/till-1", "n1", INTERCEPTED);
        assert_eq!(line, "captured as shop/till-1 on n1: intercepted");
        assert!(is_introduction(&line) && is_intercepted(&line));
        let observed = introduction("shop/till-1", "n1", "observed");
        assert!(is_introduction(&observed) && !is_intercepted(&observed));
        // As agents said it before they said what becomes of a pod.
        let old = "captured as shop/till-1 on n1";
        assert!(is_introduction(old) && !is_intercepted(old));
        assert!(!is_introduction("hello: intercepted") && !is_intercepted("hello: intercepted"));
    }

    #[test]
    fn what_is_asked_for_is_told_by_the_path() {
        assert!(asks_what_is_served(b"GET /served HTTP/1.1\r\n"));
        for other in [
            "GET /captured HTTP/1.1\r\n",
            "GET /served/ HTTP/1.1\r\n",
            "GET",
            "",
        ] {
            assert!(!asks_what_is_served(other.as_bytes()), "{other}");
        }
    }
}
