//! Why a provider could not be reached, or did not answer.

use std::io;
use std::time::Duration;

use super::route::Route;

/// A failure on the way to the provider, before the head of its answer had come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The endpoint's name has no address.
    #[error("{address} could not be resolved: {source}")]
    Unresolved {
        /// `host:port` of the endpoint.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No connection.
    #[error("no connection to {address}: {source}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Connecting, or the TLS handshake, took too long.
    #[error("{address} did not {what} within {limit:?}")]
    TimedOut {
        /// What was dialled.
        address: String,
        /// What it did not do.
        what: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// The request was sent, and no answer began in time.
    #[error("{address} took the request, but did not begin to answer within {limit:?}")]
    Silent {
        /// What was dialled.
        address: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The server has no valid certificate for the host; nothing was sent to it.
    #[error("the server at {address} is not trusted: {source}")]
    Untrusted {
        /// What was dialled.
        address: String,
        /// What is wrong with its certificate.
        source: rustls::Error,
    },
    /// The TLS handshake failed otherwise.
    #[error("TLS with {address} failed: {source}")]
    Handshake {
        /// What was dialled.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The trust settings of the backend cannot be used.
    #[error("the certificate authorities for {address} cannot be used: {reason}")]
    Authorities {
        /// What was to be dialled.
        address: String,
        /// Why.
        reason: String,
    },
    /// The connection ended before the head of an answer.
    #[error("{address} closed the connection before it answered: {source}")]
    Closed {
        /// What was dialled.
        address: String,
        /// What was seen.
        source: hyper::Error,
    },
    /// What came was not HTTP.
    #[error("{address} did not answer in valid HTTP: {source}")]
    Invalid {
        /// What was dialled.
        address: String,
        /// What was wrong with it.
        source: hyper::Error,
    },
    /// The client's own request body broke off.
    #[error("the request's body broke off: {source}")]
    RequestBody {
        /// What was seen.
        source: hyper::Error,
    },
}

impl UpstreamError {
    pub(super) fn timed_out(route: &Route, what: &'static str, limit: Duration) -> Self {
        Self::TimedOut {
            address: route.address.to_string(),
            what,
            limit,
        }
    }

    pub(super) fn from_connect(route: &Route, source: io::Error) -> Self {
        Self::Unreachable {
            address: route.address.to_string(),
            source,
        }
    }

    pub(super) fn from_handshake(route: &Route, source: io::Error) -> Self {
        let address = route.address.to_string();
        match source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(error @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => {
                Self::Untrusted {
                    address,
                    source: error.clone(),
                }
            }
            _ => Self::Handshake { address, source },
        }
    }

    pub(super) fn from_http(route: &Route, source: hyper::Error) -> Self {
        let address = route.address.to_string();
        // The body is the one part of a request that is read from somewhere else, the client, while it is sent.
        let from_client = std::error::Error::source(&source).is_some_and(|cause| cause.is::<hyper::Error>());
        if source.is_user() && from_client {
            Self::RequestBody { source }
        } else if source.is_parse() {
            Self::Invalid { address, source }
        } else {
            Self::Closed { address, source }
        }
    }
}
