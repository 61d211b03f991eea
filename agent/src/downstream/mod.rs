//! From a captured connection to what it is: relayed, or served.

pub mod captured;
mod distrusted;
mod first_bytes;
mod http;
mod relay;
mod replay;
mod sniff;
mod tls;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use weir_api::{Backend, Snapshot};

use crate::capture::{CapturedConnection, Origin};
use crate::exchange::{Connection, Services};
use crate::telemetry::record::ConnectionKind;
use crate::trust::{DistrustReporter, is_distrust, may_be_distrust};
use crate::upstream::CONNECT_LIMIT;
use crate::upstream::Protocol;
use distrusted::Distrusted;
use first_bytes::FirstBytes;
use replay::Replay;
use sniff::Verdict;
pub use tls::Terminator;

/// Serves captured connections.
#[derive(Debug)]
pub struct Downstream {
    services: Arc<Services>,
    terminator: Arc<Terminator>,
    distrusted: Distrusted,
    distrust_reporter: DistrustReporter,
    /// Everything is relayed, and counted by host.
    observes: bool,
    /// What `weir await-capture` is told.
    introduction: Option<String>,
    /// Cancelled when the agent drains, or the workload is let go of: clients are then asked to connect anew.
    draining: CancellationToken,
}

impl Downstream {
    /// Serves one workload. `root`: the file of our root as the workload sees it, named in the warning when a client rejects our certificate.
    pub fn new(services: Arc<Services>, terminator: Arc<Terminator>, root: &Path) -> Self {
        Self {
            services,
            terminator,
            distrusted: Distrusted::default(),
            distrust_reporter: DistrustReporter::new(root),
            observes: false,
            introduction: None,
            draining: CancellationToken::new(),
        }
    }

    /// Has its connections end as soon as it cuts nothing, once this is set off.
    pub fn draining_by(self, draining: CancellationToken) -> Self {
        Self { draining, ..self }
    }

    /// Opens no TLS: relays everything, and counts it by host.
    pub fn observing(self) -> Self {
        Self {
            observes: true,
            ..self
        }
    }

    /// Answers `weir await-capture` with this line.
    pub fn introduced_as(self, line: String) -> Self {
        Self {
            introduction: Some(line),
            ..self
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: CapturedConnection) {
        let CapturedConnection { stream, origin } = connection;
        if let Err(error) = self.sort(stream, &origin).await {
            // The client has been shown it by a close or a reset; there is nobody else to tell but who debugs.
            tracing::debug!(destination = %origin.destination, command = %origin.command, %error, "connection ended");
        }
    }

    /// Each stage is boxed: together they are large, and most have finished by the time a connection idles.
    async fn sort(&self, stream: TcpStream, origin: &Origin) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut first = match Box::pin(FirstBytes::read(
            stream,
            origin.destination,
            &self.services.dialler,
        ))
        .await
        {
            Ok(first) => first,
            Err(error) => {
                self.count_refused();
                return Err(error);
            }
        };
        match std::mem::replace(&mut first.verdict, Verdict::Other) {
            Verdict::PlaintextHttp { host: Some(host) }
                if host == captured::HOST && self.introduction.is_some() =>
            {
                let line = match captured::asks_what_is_served(&first.bytes) {
                    true => Cow::Owned(self.served()),
                    false => Cow::Borrowed(self.introduction.as_deref().unwrap_or_default()),
                };
                captured::answer(first.stream, &line).await
            }
            Verdict::Tls(accepted) => {
                let hello = accepted.client_hello();
                let host = hello.server_name().map(str::to_ascii_lowercase);
                match (host.as_deref().and_then(|host| self.backend(host)), host) {
                    (Some(backend), Some(host)) if tls::speaks_http(&hello) => {
                        self.terminate(accepted, backend, host.into(), first, origin)
                            .await
                    }
                    (_, host) => {
                        // A relay needs it no more, and may last for hours.
                        drop(accepted);
                        Box::pin(self.relay(first, origin, host.as_deref())).await
                    }
                }
            }
            Verdict::PlaintextHttp { host: Some(host) } if let Some(backend) = self.backend(&host) => {
                let _active = self.services.telemetry.connection(ConnectionKind::Terminated);
                // A key never travels in plaintext: the provider is called on its TLS port, whatever port the app chose.
                let destination = match origin.destination.port() {
                    80 => SocketAddr::new(origin.destination.ip(), 443),
                    _ => origin.destination,
                };
                let connection = Connection::new(
                    Arc::clone(&self.services),
                    &backend,
                    host.into(),
                    destination,
                    Protocol::Http1,
                );
                http::serve(connection, Replay::new(first.bytes, first.stream), &self.draining).await;
                Ok(())
            }
            Verdict::PlaintextHttp { host } => Box::pin(self.relay(first, origin, host.as_deref())).await,
            Verdict::Other | Verdict::More => Box::pin(self.relay(first, origin, None)).await,
        }
    }

    /// It has ended before it was anything.
    fn count_refused(&self) {
        drop(self.services.telemetry.connection(ConnectionKind::Refused));
    }

    /// What `weir await-capture` is told of the hosts whose connections are opened here.
    fn served(&self) -> String {
        let snapshot = self.services.snapshot.load();
        match self.opens(&snapshot) {
            true => captured::served(&snapshot, &self.services.workload.namespace),
            false => captured::served(&Snapshot::default(), ""),
        }
    }

    /// The backend that answers for this host, where this workload's connections are opened.
    fn backend(&self, host: &str) -> Option<Arc<Backend>> {
        let snapshot = self.services.snapshot.load();
        let backend = snapshot.backend(&self.services.workload.namespace, host)?;
        self.opens(&snapshot).then(|| Arc::clone(backend))
    }

    /// Whether any connection is opened. One that was redirected before its pod was let go of may come after: by then nobody says what binds it.
    fn opens(&self, snapshot: &Snapshot) -> bool {
        !self.observes && snapshot.intercepts(self.services.workload.uid.as_deref())
    }

    async fn terminate(
        &self,
        accepted: Box<rustls::server::Accepted>,
        backend: Arc<Backend>,
        host: Arc<str>,
        first: FirstBytes,
        origin: &Origin,
    ) -> io::Result<()> {
        match self.distrusted.verdict(&origin.command, &host) {
            Some(weir_api::OnUntrusted::Relay) => {
                return Box::pin(self.relay(first, origin, Some(&host))).await;
            }
            Some(weir_api::OnUntrusted::Refuse) => {
                self.count_refused();
                relay::reset(first.stream);
                return Ok(());
            }
            None => {}
        }
        let _active = self.services.telemetry.connection(ConnectionKind::Terminated);
        // The handshake goes on from the bytes that the sniffer was given; the socket has only what came after them.
        let handshake = Box::pin(self.terminator.handshake(*accepted, first.stream));
        drop((first.bytes, first.server));
        let (stream, protocol) = match handshake.await {
            Ok(done) => {
                if let Some(activity) = self.services.telemetry.activity() {
                    activity.accepted(|| origin.program(), &host);
                }
                done
            }
            Err(error) => {
                self.note_distrust(&error, &host, origin);
                return Err(error);
            }
        };
        let connection = Connection::new(
            Arc::clone(&self.services),
            &backend,
            host,
            origin.destination,
            protocol,
        );
        drop(backend);
        http::serve(connection, stream, &self.draining).await;
        Ok(())
    }

    /// A client that rejects our leaf: its user is told once, and its next connections are treated as the backend says.
    fn note_distrust(&self, error: &io::Error, host: &Arc<str>, origin: &Origin) {
        if !is_distrust(error) {
            // A mere hang-up is told of, but may have had another reason: the next connection is tried again.
            if !may_be_distrust(error) {
                return;
            }
            let program = origin.program();
            if let Some(activity) = self.services.telemetry.activity() {
                activity.problem(
                    format!("\"{program}\" hung up when it saw Weir's certificate"),
                    host,
                );
            }
            if let Some(report) = self.distrust_reporter.report_suspicion(&program, host) {
                tracing::warn!("{report}");
            }
            return;
        }
        let program = origin.program();
        if let Some(activity) = self.services.telemetry.activity() {
            activity.rejected(&program, host);
        }
        if let Some(backend) = self.backend(host) {
            self.distrusted.add(&origin.command, host, backend.on_untrusted);
        }
        // Last: whoever has read the report may count on what follows from it.
        if let Some(report) = self.distrust_reporter.report(&program, host) {
            tracing::warn!("{report}");
        }
    }

    /// Passes a connection through to where the app dialled; `host` is what the client called it, for the report.
    async fn relay(&self, first: FirstBytes, origin: &Origin, host: Option<&str>) -> io::Result<()> {
        let FirstBytes {
            bytes,
            stream: client,
            server,
            ..
        } = first;
        let server = match server {
            Some(server) => server,
            None => match self
                .services
                .dialler
                .dial(origin.destination, CONNECT_LIMIT)
                .await
            {
                Ok(server) => server,
                Err(error) => {
                    self.count_refused();
                    // The app's connect() has succeeded already; a reset is the nearest to the refusal that it would have seen.
                    relay::reset(client);
                    return Err(error);
                }
            },
        };
        let _active = self.services.telemetry.connection(ConnectionKind::Relayed);
        let telemetry = &self.services.telemetry;
        if let Some(host) = host {
            telemetry.relayed_to(host);
            let workload = &self.services.workload;
            // What is only observed is covered all the same, if a backend would answer for it.
            if !self.services.snapshot.load().covers(&workload.namespace, host) {
                telemetry.uncovered(workload, host);
            }
        }
        let traffic = match self.observes {
            true => telemetry.observed(&self.services.workload, host),
            false => Arc::default(),
        };
        relay::relay(bytes, client, server, &traffic).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::server::TlsStream;
    use tokio_util::sync::CancellationToken;

    use super::{Downstream, http};
    use crate::capture::CapturedConnection;
    use crate::exchange::Connection;

    fn size_of_future<Of, With, F>(_: impl FnOnce(Of, With) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_serving<F>(
        _: impl FnOnce(Arc<Connection>, TlsStream<TcpStream>, &CancellationToken) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// Memory per connection is a budget (DESIGN §13), and a `.await` in the wrong place takes some of it unseen.
    #[test]
    fn a_connection_at_rest_keeps_little() {
        let serve = size_of_future::<&'static Downstream, CapturedConnection, _>(Downstream::serve);
        assert!(serve <= 1280, "{serve} bytes");
        let http = size_of_serving(http::serve);
        assert!(http <= 64, "{http} bytes");
    }
}
