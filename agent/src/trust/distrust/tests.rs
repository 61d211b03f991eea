use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::ResolvesServerCert;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
};

use super::{DistrustReporter, REPORTED, Runtime, is_distrust, may_be_distrust};
use crate::trust::LocalAuthority;

fn alert(description: AlertDescription) -> rustls::Error {
    rustls::Error::AlertReceived(description)
}

#[test]
fn alerts_about_the_certificate_are_distrust_and_others_are_not() {
    for description in [
        AlertDescription::UnknownCA,
        AlertDescription::BadCertificate,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRevoked,
    ] {
        assert!(is_distrust(&alert(description)), "{description:?}");
    }
    for description in [
        AlertDescription::HandshakeFailure,
        AlertDescription::ProtocolVersion,
        AlertDescription::NoApplicationProtocol,
        AlertDescription::CloseNotify,
        AlertDescription::UserCanceled,
        AlertDescription::InternalError,
    ] {
        assert!(!is_distrust(&alert(description)), "{description:?}");
    }
    assert!(!is_distrust(&io::Error::from(io::ErrorKind::UnexpectedEof)));
}

#[derive(Debug, thiserror::Error)]
#[error("serving a connection")]
struct Outer(#[source] io::Error);

#[test]
fn the_alert_is_found_through_the_chain_of_causes() {
    let inner = io::Error::new(io::ErrorKind::InvalidData, alert(AlertDescription::UnknownCA));
    assert!(is_distrust(&inner));
    assert!(is_distrust(&io::Error::other(Outer(inner))));
}

#[derive(Debug)]
struct Leaves(LocalAuthority);

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.leaf(hello.server_name()?).ok()
    }
}

/// A handshake in memory: the server's error, if any.
fn handshake(
    roots: Arc<RootCertStore>,
    authority: LocalAuthority,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("a version we have")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version we have")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Leaves(authority)));
    let name = ServerName::try_from("api.openai.com").expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes all");
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).expect("memory gives all");
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes all");
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("memory gives all");
            let _ = client.process_new_packets(); // what it says of an error is in what it writes
        }
    }
    Ok(())
}

#[test]
fn a_real_client_that_does_not_know_the_root_is_told_from_one_that_does() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = || LocalAuthority::open(directory.path()).expect("a root");
        let mut ours = RootCertStore::empty();
        ours.add(authority().certificate().clone()).expect("our root");
        handshake(Arc::new(ours), authority(), version).expect("trusted");
        let error = handshake(Arc::new(RootCertStore::empty()), authority(), version).expect_err("unknown");
        assert!(is_distrust(&error), "{error}");
    }
}

#[test]
fn a_command_is_reported_once_with_its_mend() {
    let reporter = DistrustReporter::new(Path::new("/var/lib/weir/root.pem"));
    assert_eq!(
        reporter.report("java", "api.openai.com").as_deref(),
        Some(
            "\"java\" does not trust Weir's certificate for api.openai.com, so its calls there are not counted. \
             Java takes its trust store from JAVA_TOOL_OPTIONS or JDK_JAVA_OPTIONS, whichever Weir finds free; this program has \
             both, or names another store. Import ours there: keytool -importcert -noprompt -keystore STORE -storepass changeit \
             -alias weir -file /var/lib/weir/root.pem"
        )
    );
    assert_eq!(reporter.report("java", "api.anthropic.com"), None);
    let other = reporter
        .report("app\n\x1b[2J", "api.openai.com")
        .expect("a new command");
    assert!(
        other.starts_with("\"app\\n\\u{1b}[2J\" does not trust"),
        "the name is the caller's: {other}"
    );
}

#[test]
fn a_silent_close_is_suspicious_and_no_more() {
    let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
    assert!(may_be_distrust(&closed) && !is_distrust(&closed));
    assert!(!may_be_distrust(&io::Error::new(
        io::ErrorKind::InvalidData,
        alert(AlertDescription::ProtocolVersion)
    )));
    let reporter = DistrustReporter::new(Path::new("/var/lib/weir/root.pem"));
    let report = reporter
        .report_suspicion("node", "api.openai.com")
        .expect("a new command");
    assert!(
        report.contains("hung up when it saw Weir's certificate"),
        "{report}"
    );
    assert_eq!(reporter.report("node", "api.openai.com"), None, "once is enough");
}

#[test]
fn the_reporter_is_bounded() {
    let reporter = DistrustReporter::new(Path::new("/root.pem"));
    let reported =
        (0..2 * REPORTED).filter(|index| reporter.report(&format!("command-{index}"), "h").is_some());
    assert_eq!(reported.count(), REPORTED);
}

#[test]
fn runtimes_are_known_by_their_commands() {
    for (command, runtime) in [
        ("java", Runtime::Java),
        ("python3.13", Runtime::Python),
        ("uvicorn", Runtime::Python),
        ("node", Runtime::Node),
        ("MainThread", Runtime::Node),
        ("chrome", Runtime::Browser),
        ("curl", Runtime::Other),
    ] {
        assert_eq!(Runtime::of(command), runtime, "{command}");
    }
}
