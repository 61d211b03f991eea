//! Calls by HTTP/2, on one connection until it is asked to leave (GOAWAY), and then on the next.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HOST, WARM, check, question};
use crate::client::trusting;

/// Until there is a file `stop`. Gives how many were answered, and tells of each that failed; `warm` is told once.
pub(super) fn calls(
    address: SocketAddr,
    root: &str,
    stop: &Path,
    warm: impl Fn(),
    failed: impl Fn(&io::Error),
) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let mut answered = 0;
        let mut sender = None;
        for calls in 1.. {
            match call(&mut sender, address, root).await {
                Ok(()) => answered += 1,
                Err(error) => {
                    failed(&error);
                    sender = None;
                }
            }
            if calls == WARM {
                warm();
            }
            if stop.exists() {
                break;
            }
        }
        answered
    })
}

async fn call(
    kept: &mut Option<SendRequest<Full<Bytes>>>,
    address: SocketAddr,
    root: &str,
) -> io::Result<()> {
    loop {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => open(address, root).await?,
        };
        if sender.ready().await.is_err() {
            continue;
        }
        let request = http::Request::post(format!("https://{HOST}/v1/chat/completions"))
            .header("content-type", "application/json")
            .body(Full::from(question("false")))
            .map_err(io::Error::other)?;
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut error) => match error.take_message() {
                // Not a byte of it was sent: what asked us to leave came first.
                Some(_) => continue,
                None => return Err(io::Error::other(error.into_error())),
            },
        };
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes();
        *kept = Some(sender);
        return check(&String::from_utf8_lossy(&body));
    }
}

async fn open(address: SocketAddr, root: &str) -> io::Result<SendRequest<Full<Bytes>>> {
    let mut config = trusting(root)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
    let tcp = TcpStream::connect(address).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
