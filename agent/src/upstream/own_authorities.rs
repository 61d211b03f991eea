//! Verifies servers against the authorities that a backend names.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// As webpki, and besides a server may show a certificate that is itself among the authorities: what `openssl req -x509` makes, for a
/// server inside of a company, is an authority by its own words, and webpki takes none for a server's (`CaUsedAsEndEntity`).
#[derive(Debug)]
pub(super) struct OwnAuthorities {
    webpki: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl OwnAuthorities {
    /// Trusts these, and nobody else. The error is about those that can't be used.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        roots: Arc<RootCertStore>,
        crypto: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, crypto)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { webpki, certificates })
    }
}

/// Whose certificate it is has been settled, to the byte: what is left is whether it is for this server, and good now.
fn verify_named(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .ok_or(Error::FailedToGetCurrentTime)?;
    let validity = parsed.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(ServerCertVerified::assertion())
}

impl ServerCertVerifier for OwnAuthorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.webpki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(_) if self.certificates.contains(end_entity) => verify_named(end_entity, server_name, now),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};

    use super::OwnAuthorities;

    /// As `openssl req -x509 -subj /CN=… -addext subjectAltName=DNS:llm.internal` makes it, good for the year 2030.
    fn self_signed() -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(["llm.internal".to_owned()]).expect("a DNS name");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.not_before = rcgen::date_time_ymd(2030, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2030, 12, 31);
        let key = KeyPair::generate().expect("randomness");
        parameters.self_signed(&key).expect("valid").der().clone()
    }

    fn verifier(authority: &CertificateDer<'static>) -> OwnAuthorities {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).expect("a certificate");
        OwnAuthorities::new(vec![authority.clone()], Arc::new(roots), crate::trust::crypto()).expect("a root")
    }

    /// In summer.
    fn in_year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952 + 180 * 86_400))
    }

    fn verdict(
        named: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &str,
        year: u64,
    ) -> Result<(), Error> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        verifier(named)
            .verify_server_cert(shown, &[], &name, &[], in_year(year))
            .map(drop)
    }

    #[test]
    fn a_self_signed_certificate_that_is_named_is_its_servers() {
        let named = self_signed();
        assert_eq!(verdict(&named, &named, "llm.internal", 2030), Ok(()));
    }

    #[test]
    fn name_and_time_hold_for_it_too() {
        let named = self_signed();
        assert!(matches!(
            verdict(&named, &named, "other.internal", 2030),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        ));
        assert_eq!(
            verdict(&named, &named, "llm.internal", 2029),
            Err(CertificateError::NotValidYet.into())
        );
        assert_eq!(
            verdict(&named, &named, "llm.internal", 2031),
            Err(CertificateError::Expired.into())
        );
    }

    #[test]
    fn another_of_the_same_name_is_not_it() {
        let error = verdict(&self_signed(), &self_signed(), "llm.internal", 2030).expect_err("not named");
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
    }
}
