//! Root → name-constrained intermediate → leaf. Pure: what is made depends on the root, the host and the time that is given.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    SigningKey,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

const HOUR: Duration = Duration::from_secs(3600);
const ROOT_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 3600); // ten years
const LEAF_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Clocks of nodes and pods differ; a certificate from the future is refused everywhere.
const BACKDATED: Duration = HOUR;

/// Why there is no certificate. None is worth a retry as it stands.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The root's certificate or key is not what it should be.
    #[error("the certificate authority {0}")]
    Damaged(String),
    /// The cryptographic library failed.
    #[error("making a certificate: {0}")]
    Minting(#[from] rcgen::Error),
}

/// A new authority: its certificate and its key, both PEM.
pub struct NewAuthority {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, PKCS#8.
    pub key_pem: Zeroizing<String>,
}

/// Makes a root with the given common name. `path_length`: how many authorities may stand below it.
pub fn new_root(common_name: &str, path_length: u8, now: SystemTime) -> Result<NewAuthority, AuthorityError> {
    let mut parameters = authority_parameters(common_name, path_length, now, ROOT_LIFETIME);
    parameters.use_authority_key_identifier_extension = false; // self-signed: it has no issuer but itself
    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.self_signed(&key);
    let key_pem = Zeroizing::new(key.serialize_pem());
    key.zeroize();
    Ok(NewAuthority {
        certificate_pem: certificate?.pem(),
        key_pem,
    })
}

/// An authority whose key is at hand.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
}

impl fmt::Debug for Authority {
    /// Never the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads an authority as [`new_root`] has made it. The first certificate of the PEM is the one that belongs to the key.
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, AuthorityError> {
        let damaged = |problem: &str| AuthorityError::Damaged(problem.to_owned());
        let certificate = CertificateDer::from_pem_slice(certificate_pem)
            .map_err(|error| damaged(&format!("has no PEM certificate ({error})")))?;
        let key_pem = std::str::from_utf8(key_pem).map_err(|_| damaged("has a key that is not PEM"))?;
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| damaged(&format!("has a key that can't be read ({error})")))?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|error| damaged(&format!("has a certificate that can't be read ({error})")))?;
        if !parsed.is_ca() {
            return Err(damaged("has a certificate that is not an authority's"));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(damaged("has a key that does not belong to its certificate"));
        }
        let not_after = parsed.validity().not_after.to_datetime().into();
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self {
            issuer,
            certificate,
            not_after,
        })
    }

    /// When it ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for `host`, and the intermediate that has signed it.
    pub fn leaf(&self, host: &str, now: SystemTime) -> Result<Leaf, AuthorityError> {
        self.leaf_below(host, host, now)
    }

    /// A certificate for `host` by an intermediate that can vouch for `permitted`, and for nothing else. (RFC 5280 §4.2.1.10: a permitted name permits
    /// its subdomains too, and a form of name that is not mentioned is permitted altogether, wherefore addresses are excluded.)
    ///
    /// Each leaf has an intermediate of its own. One for all hosts would grow with what any namespace writes, until no TLS handshake could carry it, and
    /// tell every pod what hosts there are in the cluster. Its key has nothing else to sign, and is gone when this returns.
    fn leaf_below(&self, permitted: &str, host: &str, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let lifetime = LEAF_LIFETIME.min(self.left(now));
        let mut parameters = authority_parameters("Weir intermediate", 0, now, lifetime);
        parameters.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(permitted.to_owned())],
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ],
        });
        let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let intermediate = parameters.signed_by(&key, &self.issuer);
        let issuer = Issuer::from_params(&parameters, &key);
        let certificate = server_certificate(&issuer, &[host.to_owned()], lifetime, now);
        key.zeroize();
        Ok(Leaf {
            certificate: certificate?,
            intermediate: intermediate?.der().clone(),
        })
    }

    /// A certificate for servers of the given names, good for `lifetime` or for as long as the authority is, whichever is less.
    pub fn server_certificate(
        &self,
        names: &[String],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<ServerCertificate, AuthorityError> {
        server_certificate(&self.issuer, names, lifetime.min(self.left(now)), now)
    }

    fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// A certificate for a server, with its key.
pub struct ServerCertificate {
    /// PEM.
    pub certificate_pem: String,
    /// DER.
    pub certificate: CertificateDer<'static>,
    /// PKCS#8, DER.
    pub private_key: Zeroizing<Vec<u8>>,
    /// PKCS#8, PEM.
    pub private_key_pem: Zeroizing<String>,
    /// When it ends.
    pub not_after: SystemTime,
    /// When a newer one should take its place: half its life.
    pub renew_at: SystemTime,
}

/// What is shown for a host.
pub struct Leaf {
    /// The host's.
    pub certificate: ServerCertificate,
    /// What stands behind it in the chain: the authority that has signed it, signed by the root.
    pub intermediate: CertificateDer<'static>,
}

fn server_certificate(
    issuer: &Issuer<'_, impl SigningKey>,
    names: &[String],
    lifetime: Duration,
    now: SystemTime,
) -> Result<ServerCertificate, AuthorityError> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    if let Some(name) = names.first().filter(|name| name.len() <= 64) {
        // The longest CN of X.520. Without one the names stand, then critical, in the SAN alone.
        parameters
            .distinguished_name
            .push(DnType::CommonName, name.as_str());
    }
    parameters.not_before = (now - BACKDATED).into();
    parameters.not_after = (now + lifetime).into();
    // Python 3.13's VERIFY_X509_STRICT wants all of RFC 5280: AKI, SKI (which rcgen writes only with an explicit
    // basicConstraints), and key usages that say what the key is for.
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let signed = parameters.signed_by(&key, issuer);
    let private_key = Zeroizing::new(key.serialize_der());
    let private_key_pem = Zeroizing::new(key.serialize_pem());
    key.zeroize();
    let certificate = signed?;
    Ok(ServerCertificate {
        certificate_pem: certificate.pem(),
        certificate: certificate.der().clone(),
        private_key,
        private_key_pem,
        not_after: now + lifetime,
        renew_at: now + lifetime / 2,
    })
}

fn authority_parameters(
    common_name: &str,
    path_length: u8,
    now: SystemTime,
    lifetime: Duration,
) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.not_before = (now - BACKDATED).into();
    parameters.not_after = (now + lifetime).into();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
