//! The mock provider as a program: for `cargo xtask demo`, for the test cluster, and to play with.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use rustls::version::{TLS12, TLS13};
use weir_tests::certificates::{Authority, server_from_files};
use weir_tests::mock::{Listen, Mock, Settings};

/// Speaks the wire formats of OpenAI and Anthropic. A model's name of the form mock-WORD-WORD asks for misbehaviour.
#[derive(Parser)]
struct Arguments {
    /// The only key that it accepts; without, it accepts all.
    #[arg(long)]
    key: Option<String>,
    /// Serve TLS here.
    #[arg(long, value_name = "ADDRESS")]
    tls: Vec<SocketAddr>,
    /// Serve plaintext here.
    #[arg(long, value_name = "ADDRESS")]
    plaintext: Vec<SocketAddr>,
    /// Host names and addresses in the certificate.
    #[arg(long = "name", default_value = "provider.example")]
    names: Vec<String>,
    /// Show this certificate, a PEM file, instead of one of its own making.
    #[arg(long, value_name = "FILE", requires = "certificate_key", conflicts_with_all = ["names", "authority"])]
    certificate: Option<PathBuf>,
    /// The certificate's key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// Write the root that signs the certificate to this file, as PEM.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Write each request to this file, as a line of JSON, once it was answered.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let (protocols, versions) = (["h2", "http/1.1"], [&TLS13, &TLS12]);
    let tls = if let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.certificate_key) {
        server_from_files(certificate, key, &protocols, &versions)?
    } else {
        let authority = Authority::new("Mock provider root");
        let names: Vec<&str> = arguments.names.iter().map(String::as_str).collect();
        if let Some(path) = arguments.authority {
            std::fs::write(path, authority.pem())?;
        }
        authority.server(&names, &protocols, &versions)
    };
    let mut listens = Vec::new();
    for address in arguments.tls {
        listens.push(Listen::bind(address, Some(tls.clone()))?);
    }
    for address in arguments.plaintext {
        listens.push(Listen::bind(address, None)?);
    }
    let mock = Mock::start(
        Settings {
            name: "The mock provider".to_owned(),
            key: arguments.key,
        },
        listens,
    )?;
    if let Some(path) = arguments.record {
        mock.records().log_to(std::fs::File::create(path)?);
    }
    // Whoever started it waits for this line: from here on every address answers.
    writeln!(std::io::stdout(), "ready")?;
    mock.join();
    Ok(())
}
