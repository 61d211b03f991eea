//! The answer to `weir await-capture`, which proves that a pod is captured by a connection through it.

use std::fmt;
use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The host that is asked for; `weir await-capture` dials [`ADDRESS`], where nobody is.
pub const HOST: &str = "capture.weir.internal";

/// TEST-NET-1 (RFC 5737): uncaptured, nothing answers there.
pub const ADDRESS: &str = "192.0.2.80:80";

/// What becomes of a pod's connections where those to backends' hosts are opened.
pub const INTERCEPTED: &str = "intercepted";

const CAPTURED_AS: &str = "captured as ";

/// The line that a pod is told: who it is, where, and what becomes of its connections, which is [`INTERCEPTED`] or something else.
///
/// It is a contract: `weir await-capture` is run from the image that a pod was made with, by an agent of any later version.
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
    use super::{INTERCEPTED, introduction, is_intercepted, is_introduction};

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
}
