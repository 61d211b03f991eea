//! TCP and TLS of the controller's own servers. The certificate is asked for at each handshake, so that a renewed one needs no restart.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::server::ResolvesServerCert;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// A client that has not finished its handshake by then is somebody else's.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes under way at once: whoever opens connections and says nothing can take no more than these.
const HANDSHAKES: usize = 256;
/// A full table of open files, or the like, passes.
const ACCEPTED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A TLS connection that has been accepted.
#[derive(Debug)]
pub struct Connection(pub TlsStream<TcpStream>);

/// TLS with that certificate and those protocols (ALPN).
pub fn tls(certificate: Arc<dyn ResolvesServerCert>, protocols: &[&[u8]]) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    configuration.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(configuration)))
}

/// Listens, or says what is in the way.
pub async fn listen(address: SocketAddr, what: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{what} can't listen at {address}: {error}")))
}

/// Accepts for ever, and gives those connections whose handshake has succeeded. One that is slow holds up no other.
pub async fn accept(listener: TcpListener, tls: TlsAcceptor, accepted: mpsc::Sender<io::Result<Connection>>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return; // it is never closed
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = accepted.closed() => return,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection can't be accepted: {error}");
                tokio::time::sleep(ACCEPTED_AGAIN_AFTER).await;
                continue;
            }
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            // Small messages that wait for each other: Nagle's algorithm would only delay them.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    drop(permit);
                    // The server is about to end where nobody takes it.
                    let _ = accepted.send(Ok(Connection(stream))).await;
                }
                Ok(Err(error)) => tracing::debug!("a TLS handshake has failed: {error}"),
                Err(_) => tracing::debug!("a TLS handshake was not finished within {HANDSHAKE_WITHIN:?}"),
            }
        });
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
