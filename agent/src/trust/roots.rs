//! The roots that upstream certificates are held against.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// Why there are no roots to verify upstream with.
#[derive(Debug, Error)]
pub enum RootsError {
    /// The machine has none.
    #[error("no root certificates on this machine, so no provider can be verified{}; install them (Debian, Ubuntu: apt install ca-certificates), or name a PEM file with SSL_CERT_FILE", detail(.0))]
    NoneFound(Vec<String>),
    /// A backend's own authorities are no certificates.
    #[error("{0}")]
    Unreadable(String),
}

fn detail(problems: &[String]) -> String {
    match problems.first() {
        Some(problem) => format!(" ({problem})"),
        None => String::new(),
    }
}

/// The machine's public roots: the system's store, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` of Weir's own
/// environment name in its stead.
pub fn upstream_roots() -> Result<Arc<RootCertStore>, RootsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(
            added,
            ignored,
            "some of the machine's root certificates can't be used"
        );
    }
    if store.is_empty() {
        return Err(RootsError::NoneFound(
            found.errors.iter().map(ToString::to_string).collect(),
        ));
    }
    Ok(Arc::new(store))
}

/// A backend's own authorities, from PEM, and the certificates that they were made of. Every certificate of it must be usable, and there
/// must be one: a store that silently lacks one would refuse upstream later, with nothing to say why.
pub fn roots_from_pem(pem: &[u8]) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), RootsError> {
    let mut store = RootCertStore::empty();
    let mut certificates = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let problem = |problem: String| {
            RootsError::Unreadable(format!("certificate {} of the PEM: {problem}", index + 1))
        };
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        store
            .add(certificate.clone())
            .map_err(|error| problem(error.to_string()))?;
        certificates.push(certificate);
    }
    if store.is_empty() {
        return Err(RootsError::Unreadable(
            "no certificate in the PEM (it wants -----BEGIN CERTIFICATE-----)".to_owned(),
        ));
    }
    Ok((Arc::new(store), certificates))
}

#[cfg(test)]
mod tests {
    use super::{roots_from_pem, upstream_roots};

    #[test]
    fn pem_that_holds_no_certificate_is_an_error() {
        let error = roots_from_pem(b"hello").expect_err("no certificate");
        assert_eq!(
            error.to_string(),
            "no certificate in the PEM (it wants -----BEGIN CERTIFICATE-----)"
        );
    }

    #[test]
    fn a_broken_certificate_is_named_by_its_number() {
        let pem = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let error = roots_from_pem(pem.as_bytes()).expect_err("not DER");
        assert!(
            error.to_string().starts_with("certificate 1 of the PEM: "),
            "{error}"
        );
    }

    #[test]
    fn this_machine_has_roots() {
        assert!(!upstream_roots().expect("install ca-certificates").is_empty());
    }
}
