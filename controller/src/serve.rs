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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
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
pub struct Connection {
    stream: TlsStream<TcpStream>,
    /// It is one of the server's connections until it is dropped.
    _counted: OwnedSemaphorePermit,
}

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

/// Accepts for ever, and gives those connections whose handshake has succeeded. One that is slow holds up no other. Of `at_most` that are
/// open at once the next waits until one ends.
pub async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    at_most: usize,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let connections = Arc::new(Semaphore::new(at_most));
    loop {
        let next = async {
            // Neither is ever closed.
            let counted = Arc::clone(&connections).acquire_owned().await.ok()?;
            let permit = Arc::clone(&handshakes).acquire_owned().await.ok()?;
            Some((counted, permit, listener.accept().await))
        };
        let (counted, permit, stream) = tokio::select! {
            Some(next) = next => next,
            () = accepted.closed() => return,
        };
        if connections.available_permits() == 0 {
            tracing::warn!("{at_most} connections are open: the next waits until one ends");
        }
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
                    let connection = Connection {
                        stream,
                        _counted: counted,
                    };
                    let _ = accepted.send(Ok(connection)).await;
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::sign::CertifiedKey;
    use tokio::time::timeout;

    use super::*;

    /// One certificate for all.
    #[derive(Debug)]
    struct Always(Arc<CertifiedKey>);

    impl ResolvesServerCert for Always {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    #[tokio::test]
    async fn the_next_connection_waits_until_one_ends() {
        let made = rcgen::generate_simple_self_signed(["weir-webhook".to_owned()]).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider).unwrap();
        let tls = tls(Arc::new(Always(Arc::new(certified))), &[b"h2"]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusting = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(trusting));

        let listener = listen("127.0.0.1:0".parse().unwrap(), "the test").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, mut connections) = mpsc::channel(8);
        let accepting = tokio::spawn(accept(listener, tls, 2, accepted));
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let stream = TcpStream::connect(address).await.unwrap();
                    let name = ServerName::try_from("weir-webhook").unwrap();
                    connector.connect(name, stream).await
                })
            })
            .collect();
        let first = connections.recv().await.unwrap().unwrap();
        let _second = connections.recv().await.unwrap().unwrap();
        // Time stands still until nothing else is left to be done, so that what has not come within it never would.
        tokio::time::pause();
        let waiting = timeout(Duration::from_secs(3600), connections.recv()).await;
        assert!(waiting.is_err());
        tokio::time::resume();
        drop(first);
        assert!(connections.recv().await.unwrap().is_ok());
        for client in clients {
            client.await.unwrap().unwrap();
        }
        accepting.abort();
    }
}
