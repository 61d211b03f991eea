//! Root → name-constrained intermediate → leaves. Pure: what is made depends on the root, the hosts and the time that is given.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 3600); // ten years
/// Each replica makes one of its own and keeps its key in memory, so it need not outlive the leaves by much.
const INTERMEDIATE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const LEAF_LIFETIME: Duration = DAY;
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

    /// An authority below this one that can vouch for `hosts`, and for nothing else: whoever stole its key could pretend to be an AI
    /// provider, but not a bank. (RFC 5280 §4.2.1.10: a permitted name permits its subdomains too, and a form of name that is not
    /// mentioned is permitted altogether, wherefore addresses are excluded.)
    pub fn intermediate(
        &self,
        hosts: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<Intermediate, AuthorityError> {
        let lifetime = INTERMEDIATE_LIFETIME.min(self.left(now));
        let mut parameters = authority_parameters("Weir intermediate", 0, now, lifetime);
        parameters.name_constraints = Some(NameConstraints {
            // Without a single permitted name all would be: `.invalid` is nobody's (RFC 2606).
            permitted_subtrees: match hosts.is_empty() {
                true => vec![GeneralSubtree::DnsName("invalid".to_owned())],
                false => hosts.iter().cloned().map(GeneralSubtree::DnsName).collect(),
            },
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ],
        });
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.der().clone();
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Intermediate {
            authority: Self {
                issuer,
                certificate,
                not_after: now + lifetime,
            },
            hosts: hosts.clone(),
            renew_at: now + lifetime / 2,
        })
    }

    /// A certificate for servers of the given names, good for `lifetime` or for as long as the authority is, whichever is less.
    pub fn server_certificate(
        &self,
        names: &[String],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<ServerCertificate, AuthorityError> {
        let lifetime = lifetime.min(self.left(now));
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
        let signed = parameters.signed_by(&key, &self.issuer);
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

/// An authority for some hosts alone. Its key is in the memory of this replica, and nowhere else.
#[derive(Debug)]
pub struct Intermediate {
    authority: Authority,
    hosts: BTreeSet<String>,
    renew_at: SystemTime,
}

impl Intermediate {
    /// Whether it can vouch for all of `hosts`, for no other, and is in the first half of its life.
    pub fn serves(&self, hosts: &BTreeSet<String>, now: SystemTime) -> bool {
        self.hosts == *hosts && now < self.renew_at
    }

    /// A certificate for one of its hosts.
    pub fn leaf(&self, host: &str, now: SystemTime) -> Result<ServerCertificate, AuthorityError> {
        self.authority
            .server_certificate(&[host.to_owned()], LEAF_LIFETIME, now)
    }

    /// Its certificate: what stands behind the leaf in a chain.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.authority.certificate
    }
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
