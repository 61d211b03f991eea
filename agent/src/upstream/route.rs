//! Where an exchange goes, and what must be true of the server there.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

/// One way to a provider. Exchanges with equal routes may share a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Route {
    pub(crate) address: Address,
    pub(crate) security: Security,
}

/// Whom to dial.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Address {
    /// The original destination.
    Socket(SocketAddr),
    /// A backend's endpoint, resolved at each dial.
    Name { host: String, port: u16 },
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(formatter),
            Self::Name { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

/// How a server proves who it is before a key is sent to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Security {
    /// It does not: the backend says `tls: {mode: Plaintext}`.
    Plaintext,
    /// By a certificate for `server_name` under `authorities` (PEM), or under the public roots.
    Tls {
        server_name: ServerName<'static>,
        authorities: Option<Arc<[u8]>>,
    },
}
