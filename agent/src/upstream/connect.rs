//! From a route to a connection that takes requests.

use std::io;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::dialler::{CONNECT_LIMIT, Dialler};
use super::error::UpstreamError;
use super::route::{Address, Route, Security};
use super::sender::{Protocol, Sender};
use super::tls::UpstreamTls;

/// How long the TLS handshake may take after that.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How many bytes of one answer may wait here for their client to read on.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same for all answers of a connection. Larger than its streams could fill in good order: h2 ends a connection whose unread
/// small frames exceed a share of this window, so that with a tight one a single client that pauses, or a burst of short
/// events on many streams, would cost all others their answers.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// The longest head of an answer by HTTP/2.
const MOST_HEAD_BYTES: u32 = 64 * 1024;

/// A connection that stands and takes requests, TLS included, within `limit` or else the limits by default.
pub(super) async fn connect(
    dialler: &Dialler,
    route: &Route,
    protocol: Protocol,
    tls: &UpstreamTls,
    limit: Option<Duration>,
) -> Result<Sender, UpstreamError> {
    let Some(limit) = limit else {
        return connect_by_steps(dialler, route, protocol, tls, (CONNECT_LIMIT, HANDSHAKE_LIMIT)).await;
    };
    let connecting = connect_by_steps(dialler, route, protocol, tls, (limit, limit));
    timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(UpstreamError::timed_out(
            route,
            "accept a connection and finish TLS",
            limit,
        ))
    })
}

/// The limits are for TCP, at each address that is tried, and for TLS.
async fn connect_by_steps(
    dialler: &Dialler,
    route: &Route,
    protocol: Protocol,
    tls: &UpstreamTls,
    (connect_limit, handshake_limit): (Duration, Duration),
) -> Result<Sender, UpstreamError> {
    let stream = open(dialler, route, connect_limit).await?;
    match &route.security {
        Security::Plaintext => handshake(route, Protocol::Http1, stream).await,
        Security::Tls {
            server_name,
            authorities,
        } => {
            let config =
                tls.config(authorities.as_ref(), protocol)
                    .map_err(|reason| UpstreamError::Authorities {
                        address: route.address.to_string(),
                        reason,
                    })?;
            let connecting = TlsConnector::from(config).connect(server_name.clone(), stream);
            let stream = match timeout(handshake_limit, connecting).await {
                Ok(connected) => connected.map_err(|error| UpstreamError::from_handshake(route, error))?,
                Err(_) => {
                    let what = "finish the TLS handshake";
                    return Err(UpstreamError::timed_out(route, what, handshake_limit));
                }
            };
            let negotiated = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            handshake(route, negotiated, stream).await
        }
    }
}

/// Tries each address that the route stands for, in the resolver's order.
async fn open(dialler: &Dialler, route: &Route, limit: Duration) -> Result<TcpStream, UpstreamError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => UpstreamError::timed_out(route, "accept a connection", limit),
        _ => UpstreamError::from_connect(route, error),
    };
    let (host, port) = match &route.address {
        Address::Socket(address) => match dialler.dial(*address, limit).await {
            Ok(stream) => return Ok(stream),
            Err(error) => match name_behind(route, &error) {
                Some(name) => (name, address.port()),
                None => return Err(failed(error)),
            },
        },
        Address::Name { host, port } => (host.as_str(), *port),
    };
    let unresolved = |source| UpstreamError::Unresolved {
        address: route.address.to_string(),
        source,
    };
    let mut last = unresolved(io::Error::from(io::ErrorKind::NotFound));
    for address in tokio::net::lookup_host((host, port)).await.map_err(unresolved)? {
        match dialler.dial(address, limit).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = failed(error),
        }
    }
    Err(last)
}

/// The name whose other addresses are worth a try: there is no way to the one that was dialled. Uncaptured, the app's connect()
/// would have failed at once, and the app would have gone on to the next; captured, it has succeeded, and so that is up to us.
/// Whoever answers has to prove the name in any case.
fn name_behind<'a>(route: &'a Route, error: &io::Error) -> Option<&'a str> {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    let unroutable = matches!(
        error.kind(),
        NetworkUnreachable | HostUnreachable | AddrNotAvailable
    );
    match &route.security {
        Security::Tls {
            server_name: ServerName::DnsName(name),
            ..
        } if unroutable => Some(name.as_ref()),
        _ => None,
    }
}

async fn handshake<S>(route: &Route, protocol: Protocol, stream: S) -> Result<Sender, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    let failed = |error| UpstreamError::from_http(route, error);
    match protocol {
        Protocol::Http1 => {
            let (sender, connection) = hyper::client::conn::http1::Builder::new()
                .preserve_header_case(true)
                .handshake(io)
                .await
                .map_err(failed)?;
            // How it ended is told to whoever waits for an answer on it.
            tokio::spawn(connection.with_upgrades());
            Ok(Sender::Http1(sender))
        }
        Protocol::Http2 => {
            let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MOST_HEAD_BYTES)
                .handshake(io)
                .await
                .map_err(failed)?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        }
    }
}
