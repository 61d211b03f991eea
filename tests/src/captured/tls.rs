//! TLS on a captured connection, and whose certificate was shown on it.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::wire::Wire;
use crate::certificates;
use crate::world::World;

/// A TLS client's end of a connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Which certificates a client takes. A handshake that succeeds says who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Weir's own root: the connection is terminated.
    Weir,
    /// The root of the world's servers: the connection is relayed.
    Servers,
}

/// How a client greets.
#[derive(Debug, Clone)]
pub struct Greeting<'a> {
    /// The name that the certificate is checked for.
    pub name: &'a str,
    /// Whether the hello carries it.
    pub sni: bool,
    /// What ALPN offers; nothing if empty.
    pub alpn: &'a [&'a str],
    /// The only version that is offered; both without.
    pub version: Option<&'static SupportedProtocolVersion>,
    /// Whom it believes.
    pub trust: Trust,
}

impl<'a> Greeting<'a> {
    /// As an ordinary client of HTTP/1.1 that was given Weir's root.
    pub fn to(name: &'a str) -> Self {
        Self {
            name,
            sni: true,
            alpn: &["http/1.1"],
            version: None,
            trust: Trust::Weir,
        }
    }

    /// The client's side of the handshake, not begun.
    ///
    /// # Panics
    /// If the name is none.
    pub fn client(&self, world: &World) -> ClientConnection {
        let name = ServerName::try_from(self.name.to_owned()).expect("the test's own names are valid");
        ClientConnection::new(self.config(world), name).expect("the configuration is complete")
    }

    /// Its settings, for clients that make connections of their own.
    ///
    /// # Panics
    /// If the roots cannot be read.
    pub fn config(&self, world: &World) -> Arc<ClientConfig> {
        let pem = match self.trust {
            Trust::Weir => {
                std::fs::read_to_string(world.path("state/root.pem")).expect("a run has made its root")
            }
            Trust::Servers => world.authority().pem(),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).flatten());
        let versions = self
            .version
            .map_or_else(|| vec![&TLS13, &TLS12], |version| vec![version]);
        let mut config = ClientConfig::builder_with_provider(certificates::provider())
            .with_protocol_versions(&versions)
            .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_sni = self.sni;
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Greets on `stream` and goes through the handshake.
    ///
    /// # Errors
    /// As the handshake's.
    pub fn on(&self, world: &World, stream: TcpStream) -> io::Result<Wire<TlsStream>> {
        finish(self.client(world), stream)
    }
}

/// Ends a handshake that may have been begun by hand.
///
/// # Errors
/// As the handshake's.
pub fn finish(client: ClientConnection, stream: TcpStream) -> io::Result<Wire<TlsStream>> {
    let mut stream = StreamOwned::new(client, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Wire::new(stream))
}
