//! A certificate authority of the test's own, and server configurations that it signs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// A root that exists for one test, and signs what that test's servers show.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    /// A new root. `name` stands in its subject, so that two authorities in one test can be told apart.
    pub fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = parameters
            .self_signed(&key)
            .expect("the parameters above are valid");
        Self {
            issuer: Issuer::new(parameters, key),
            certificate,
        }
    }

    /// The root as PEM: what a `ca.crt` in a ConfigMap holds.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's TLS for `names` (host names and addresses alike), offering `protocols` by ALPN.
    pub fn server(
        &self,
        names: &[&str],
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let mut parameters =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .expect("the test's own names are valid");
        parameters
            .distinguished_name
            .push(DnType::CommonName, names.first().copied().unwrap_or("test"));
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 and later insist on it (VERIFY_X509_STRICT).
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .expect("the parameters above are valid");
        let chain = vec![
            certificate.der().clone(),
            CertificateDer::from(self.certificate.der().to_vec()),
        ];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        configuration(chain, key, protocols, versions)
    }
}

/// A server's TLS from PEM files: certificate, intermediates, and its key.
///
/// # Errors
/// If a file cannot be read or holds something else, with its path.
pub fn server_from_files(
    certificate: &Path,
    key: &Path,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<Arc<ServerConfig>> {
    let named = |path: &Path, error: pem::Error| io::Error::other(format!("{}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| named(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, error))?;
    Ok(configuration(chain, key, protocols, versions))
}

fn configuration(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key belongs to the certificate");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The one cryptography provider, named so that no process-wide default is needed.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
