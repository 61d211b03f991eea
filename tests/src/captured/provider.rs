//! A provider whose every byte is the test's: HTTP/1.1 over TLS at `free.example`, the address of [`FREE`].

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::Wire;
use crate::world::servers::{self, Reports};
use crate::world::wait::PATIENCE;
use crate::world::{FREE, World};

/// The server's end of a TLS connection.
pub type Served = Wire<StreamOwned<ServerConnection, TcpStream>>;

/// Serves each connection to port 443 by `serve`, on a thread of its own. What `serve` gives, or its error, is reported.
///
/// # Panics
/// If the port is taken.
pub fn start<F>(world: &World, serve: F) -> Reports
where
    F: Fn(Served) -> io::Result<String> + Send + Sync + 'static,
{
    let config = world.authority().server(
        &["free.example", "api.openai.com"],
        &["http/1.1"],
        &[&TLS13, &TLS12],
    );
    let serve = Arc::new(serve);
    servers::start(FREE, 443, move |stream| {
        serve(accept(Arc::clone(&config), stream)?)
    })
}

/// Takes a TLS connection.
///
/// # Errors
/// As the handshake's.
pub fn accept(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<Served> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Wire::new(stream))
}

/// Ends TLS as RFC 8446 §6.1 wants it; without this, dropping the connection ends TCP alone.
///
/// # Errors
/// As the connection's.
pub fn notify_close(wire: &mut Served) -> io::Result<()> {
    let stream = wire.stream_mut();
    stream.conn.send_close_notify();
    stream.flush()
}
