//! The answer to `weir await-capture`, which proves that a pod is captured by a connection through it.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The host that is asked for; `weir await-capture` dials [`ADDRESS`], where nobody is.
pub const HOST: &str = "capture.weir.internal";

/// TEST-NET-1 (RFC 5737): uncaptured, nothing answers there.
pub const ADDRESS: &str = "192.0.2.80:80";

/// Answers with one line, and closes.
pub(super) async fn answer(mut stream: TcpStream, line: &str) -> io::Result<()> {
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{line}\n",
        line.len() + 1
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}
