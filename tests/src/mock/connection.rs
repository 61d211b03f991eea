//! One accepted connection: TLS, protocol, and what every request on it has in common.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::record::{Ending, Record, Records};
use super::route::Head;
use super::{Settings, http1, http2};

/// What the requests of one connection share.
pub(crate) struct Connection {
    pub(crate) settings: Arc<Settings>,
    pub(crate) records: Records,
    number: usize,
    client: SocketAddr,
    tls: bool,
    server_name: Option<String>,
}

impl Connection {
    pub(crate) fn begin(&self, head: &Head, protocol: &str, chunked: bool) -> usize {
        self.records.begin(Record {
            id: 0,
            connection: self.number,
            protocol: protocol.to_owned(),
            tls: self.tls,
            server_name: self.server_name.clone(),
            client: self.client,
            method: head.method.clone(),
            path: head.path.clone(),
            headers: head.headers.clone(),
            chunked,
            body_length: 0,
            body_sha256: String::new(),
            body: String::new(),
            body_cut: false,
            status: 0,
            sent: 0,
            ending: Ending::Open,
        })
    }
}

/// Serves one connection to its end. How it ends is in the records; an error here is the client's leaving.
pub(crate) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    settings: Arc<Settings>,
    records: Records,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let number = records.connection();
        let connection = Arc::new(Connection {
            settings,
            records,
            number,
            client,
            tls: false,
            server_name: None,
        });
        let mut first = [0; 3];
        // HTTP/2 with prior knowledge begins with PRI; no HTTP/1 method does.
        if matches!(stream.peek(&mut first).await, Ok(3)) && first == *b"PRI" {
            let _ = http2::serve(stream, connection).await;
        } else {
            let _ = http1::serve(stream, &connection).await;
        }
        return;
    };
    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
        return;
    };
    let session = stream.get_ref().1;
    let server_name = session.server_name().map(str::to_owned);
    let h2 = session.alpn_protocol() == Some(b"h2");
    let number = records.connection();
    let connection = Arc::new(Connection {
        settings,
        records,
        number,
        client,
        tls: true,
        server_name,
    });
    if h2 {
        let _ = http2::serve(stream, connection).await;
    } else {
        let _ = http1::serve(stream, &connection).await;
    }
}

/// A stream whose connection can be torn down by RST.
pub(crate) trait Resettable {
    fn reset(&self) -> std::io::Result<()>;
}

impl Resettable for TcpStream {
    fn reset(&self) -> std::io::Result<()> {
        self.set_zero_linger()
    }
}

impl Resettable for TlsStream<TcpStream> {
    fn reset(&self) -> std::io::Result<()> {
        self.get_ref().0.set_zero_linger()
    }
}
