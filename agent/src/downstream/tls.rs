//! Ends TLS with a leaf for the host that the app dialled.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{Accepted, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use crate::trust::Leaves;
use crate::upstream::Protocol;

/// How long a client may take over its half of the handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// What is offered to clients, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whether a client that names protocols names one that can be served.
pub(super) fn speaks_http(hello: &ClientHello<'_>) -> bool {
    hello
        .alpn()
        .is_none_or(|mut offered| offered.any(|protocol| PROTOCOLS.contains(&protocol)))
}

/// Ends TLS. One serves all workloads of an agent.
pub struct Terminator {
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Terminator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Terminator").finish_non_exhaustive()
    }
}

impl Terminator {
    /// Shows clients these leaves.
    pub fn new(leaves: Leaves) -> Self {
        let mut config = ServerConfig::builder_with_provider(crate::trust::crypto())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(BySni(leaves)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // Tickets, so that a client which comes again is not asked for a whole handshake, and nothing is kept for it here.
        match rustls::crypto::aws_lc_rs::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            Err(error) => {
                tracing::warn!(%error, "no TLS session tickets: each connection takes a whole handshake")
            }
        }
        Self {
            config: Arc::new(config),
        }
    }

    pub(super) async fn handshake(
        &self,
        accepted: Accepted,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Protocol)> {
        let handshake = StartHandshake::from_parts(accepted, stream).into_stream(Arc::clone(&self.config));
        let stream = timeout(HANDSHAKE_LIMIT, handshake)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((stream, protocol))
    }
}

/// Leaves by SNI. Only hosts of the snapshot come this far.
#[derive(Debug)]
struct BySni(Leaves);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name()?;
        match self.0.leaf(&host.to_ascii_lowercase()) {
            Ok(leaf) => Some(leaf),
            Err(error) => {
                tracing::error!(host, "no leaf certificate: {error}");
                None
            }
        }
    }
}
