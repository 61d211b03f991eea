//! The least that a proxy which ends TLS on both sides can be: hyper's server, hyper's client, and a body handed from one to the other.
//!
//! As in Weir, each client's connection has one of its own to the upstream, opened with the first request. No pool, no look at a
//! header or a body, no count of anything.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use weir_tests::certificates::Authority;

use crate::{HOST, Outcome, load, upstream};

/// Serves until it is killed.
pub(crate) async fn serve(
    listen: SocketAddr,
    upstream: SocketAddr,
    trust: &Path,
    authority: &Path,
) -> Outcome {
    let root = Authority::new("Weir bench: bare proxy");
    std::fs::write(authority, root.pem())?;
    let acceptor = TlsAcceptor::from(root.server(&[HOST], &["http/1.1"], &[&TLS13, &TLS12]));
    let connector = TlsConnector::from(load::tls::trusting(trust)?);
    let listener = TcpListener::bind(listen).await?;
    crate::ready()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, connector) = (acceptor.clone(), connector.clone());
        tokio::spawn(async move {
            // Broken by whichever side ended it: there is nobody to tell.
            let _ = connection(stream, acceptor, connector, upstream).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    upstream: SocketAddr,
) -> Outcome {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let sender = Arc::new(Mutex::new(None));
    let service = service_fn(move |request: Request<Incoming>| {
        let (sender, connector) = (Arc::clone(&sender), connector.clone());
        async move { forward(request, &sender, connector, upstream).await }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn forward(
    request: Request<Incoming>,
    sender: &Mutex<Option<SendRequest<Incoming>>>,
    connector: TlsConnector,
    upstream: SocketAddr,
) -> io::Result<Response<Incoming>> {
    let mut sender = sender.lock().await;
    let sender = match &mut *sender {
        Some(sender) => sender,
        none => none.insert(open(connector, upstream).await.map_err(io::Error::other)?),
    };
    sender.ready().await.map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

async fn open(connector: TlsConnector, upstream: SocketAddr) -> Outcome<SendRequest<Incoming>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let stream = connector
        .connect(ServerName::try_from(upstream::NAME)?, stream)
        .await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
