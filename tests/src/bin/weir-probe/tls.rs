//! One HTTP/1.1 request over TLS, with everything about its hello and its head to choose.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weir_tests::certificates;

use crate::hello::{self, Packing};
use crate::say;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    /// The name that the certificate is checked for, and that the hello carries.
    #[arg(long)]
    server_name: String,
    /// Leaves the name out of the hello.
    #[arg(long)]
    no_sni: bool,
    /// The Host header; the server name without it.
    #[arg(long)]
    host: Option<String>,
    #[arg(long, value_enum, default_value = "whole")]
    hello: Packing,
    /// `1.2` or `1.3`; both without it.
    #[arg(long)]
    version: Option<String>,
    /// What ALPN offers; nothing without it.
    #[arg(long)]
    alpn: Vec<String>,
    /// Trust only the public roots, as a program does that brings its own.
    #[arg(long)]
    distrust: bool,
    #[arg(long, default_value = "/")]
    path: String,
    /// Sends a POST with this body.
    #[arg(long)]
    post: Option<String>,
    /// Headers `Name: value`, in this order and case, before Content-Length.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// Closes after the answer's first that many bytes.
    #[arg(long)]
    leave_after: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let mut tcp = TcpStream::connect(arguments.address)?;
    let mut connection = connection(arguments)?;
    let mut first = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut first)?;
    }
    hello::write(&mut tcp, &first, arguments.hello)?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            return say(&format!("handshake failed: {error}"));
        }
    }
    let protocol = stream
        .conn
        .alpn_protocol()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let version = stream
        .conn
        .protocol_version()
        .map(|version| format!("{version:?}"));
    say(&format!(
        "{} {}",
        version.unwrap_or_default(),
        protocol.as_deref().unwrap_or("no protocol")
    ))?;
    if protocol.as_deref() == Some("h2") {
        // The negotiation is what was asked about; curl speaks it.
        return Ok(());
    }
    stream.write_all(request(arguments).as_bytes())?;
    stream.flush()?;
    let mut output = io::stdout().lock();
    let mut left = arguments.leave_after.unwrap_or(usize::MAX);
    let mut buffer = [0; 4096];
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                output.write_all(buffer.get(..length).unwrap_or_default())?;
                output.flush()?;
                left = left.saturating_sub(length);
            }
            Err(error) => return writeln!(output, "[{:?}]", error.kind()),
        }
    }
    Ok(())
}

fn request(arguments: &Arguments) -> String {
    let host = arguments.host.as_deref().unwrap_or(&arguments.server_name);
    let method = if arguments.post.is_some() { "POST" } else { "GET" };
    let mut head = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n", arguments.path);
    for header in &arguments.headers {
        head.push_str(&format!("{header}\r\n"));
    }
    if let Some(body) = &arguments.post {
        return format!(
            "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    head + "Connection: close\r\n\r\n"
}

fn connection(arguments: &Arguments) -> io::Result<ClientConnection> {
    let versions = match arguments.version.as_deref() {
        Some("1.2") => vec![&TLS12],
        Some("1.3") => vec![&TLS13],
        _ => vec![&TLS13, &TLS12],
    };
    let file = match std::env::var("SSL_CERT_FILE") {
        Ok(file) if !arguments.distrust => file,
        _ => "/etc/ssl/certs/ca-certificates.crt".to_owned(),
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&file).map_err(io::Error::other)?;
    roots.add_parsable_certificates(certificates.flatten());
    let mut config = ClientConfig::builder_with_provider(certificates::provider())
        .with_protocol_versions(&versions)
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_sni = !arguments.no_sni;
    config.alpn_protocols = arguments
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(arguments.server_name.clone()).map_err(io::Error::other)?;
    ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)
}
