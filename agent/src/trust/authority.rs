//! The local root: made once in the state directory, and the leaves it signs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use super::store;

mod files;

use files::Files;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOT_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 3600); // ten years
/// Clocks of containers and virtual machines differ; a certificate from the future is refused everywhere.
const BACKDATED: Duration = HOUR;
/// A leaf is replaced when less than this is left of its day: clients hold on to what a handshake gave them.
const RENEWED_BEFORE: Duration = Duration::from_secs(8 * 3600);
/// Leaves are minted only for hosts that policies name, so this is far from what a configuration reaches.
const CACHED_LEAVES: usize = 1024;

/// Why there is no local root. Each message names the file and the mend; none is worth a retry as it stands.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The state directory can't be made, locked or written.
    #[error("the state directory {}: {source}; choose one that you may write with --state-dir", path.display())]
    Directory {
        /// The state directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the pair can't be read.
    #[error("{}: {source}; it can't be read, so give it back to the user that runs Weir, or choose another --state-dir", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may read the root's key, or it is someone else's.
    #[error("{}: the root's key {problem}; remove it together with {} (the next run makes a new root), or, if you are sure that nobody has read it: {mend}", path.display(), certificate.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// The certificate beside it.
        certificate: PathBuf,
        /// What is wrong with its mode or owner.
        problem: String,
        /// The command that sets it right.
        mend: String,
    },
    /// A file is not what it should be: damaged, out of date, or half of another pair.
    #[error("{}: {problem}; remove {} and {} and the next run makes a new root", path.display(), key.display(), certificate.display())]
    Damaged {
        /// The file at fault.
        path: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The host is no name that a certificate can carry.
    #[error("{host:?} is not a name that a certificate can carry: {problem}")]
    Host {
        /// The host as given.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The cryptographic library failed.
    #[error("making a certificate: {0}")]
    Minting(String),
}

/// A root certificate of this machine's own, and the leaves that it vouches for.
///
/// Only a command captured by `weir run` is told to trust it ([`super::child_environment`]); it is installed nowhere.
pub struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_path: PathBuf,
    leaves: RwLock<HashMap<String, Leaf>>,
    /// Held while a leaf is made, so that a burst of first connections mints one.
    minting: Mutex<()>,
}

#[derive(Clone)]
struct Leaf {
    certified: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

impl LocalAuthority {
    /// Opens the root of `state_directory`, making directory and root where there are none.
    ///
    /// Runs started at once share one root: the pair is made under the directory's lock, the key first, so that a
    /// crash in between leaves a key whose certificate the next run makes.
    pub fn open(state_directory: &Path) -> Result<Self, AuthorityError> {
        Self::open_at(state_directory, SystemTime::now())
    }

    fn open_at(state_directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let directory_error = |source| AuthorityError::Directory {
            path: state_directory.to_owned(),
            source,
        };
        store::make_directory(state_directory).map_err(directory_error)?;
        let lock = store::lock_directory(state_directory).map_err(directory_error)?;
        let files = Files::of(state_directory);

        let key = match files.read_key()? {
            Some(key) => key,
            None if files.certificate.exists() => {
                return Err(files.damaged(&files.key, "is missing while its certificate is there"));
            }
            None => {
                let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(minting)?;
                let pem = Zeroizing::new(key.serialize_pem());
                if let Err(source) = store::write_atomically(&files.key, pem.as_bytes(), 0o600) {
                    key.zeroize();
                    return Err(directory_error(source));
                }
                key
            }
        };
        let certificate_pem = match files.read_certificate()? {
            Some(pem) => pem,
            None => {
                let pem = root_parameters(now).self_signed(&key).map_err(minting)?.pem();
                store::write_atomically(&files.certificate, pem.as_bytes(), 0o644)
                    .map_err(directory_error)?;
                pem
            }
        };
        drop(lock);

        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| {
            files.damaged(&files.certificate, &format!("is no PEM certificate ({error})"))
        })?;
        check_root(&certificate, &key, now).map_err(|problem| files.damaged(&files.certificate, &problem))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| files.damaged(&files.certificate, &format!("can't be read ({error})")))?;
        Ok(Self {
            issuer,
            certificate,
            certificate_path: files.certificate,
            leaves: RwLock::default(),
            minting: Mutex::default(),
        })
    }

    /// The root certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Where the root certificate lies, readable by everyone: what a user imports by hand where a program has
    /// a trust store of its own.
    pub fn certificate_path(&self) -> &Path {
        &self.certificate_path
    }

    /// A certificate for `host` (a DNS name in lower case, or an IP address) that is good for hours yet, with its key.
    ///
    /// Cached; a first call takes some 100 µs of CPU. Ask only for hosts that a backend answers for: the name of
    /// a ClientHello is the caller's to choose.
    pub fn leaf(&self, host: &str) -> Result<Arc<CertifiedKey>, AuthorityError> {
        self.leaf_at(host, SystemTime::now())
    }

    fn leaf_at(&self, host: &str, now: SystemTime) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let cached = |now| {
            self.leaves
                .read()
                .get(host)
                .filter(|leaf| now < leaf.renew_at)
                .map(|leaf| Arc::clone(&leaf.certified))
        };
        if let Some(certified) = cached(now) {
            return Ok(certified);
        }
        let _minting = self.minting.lock();
        if let Some(certified) = cached(now) {
            return Ok(certified);
        }
        let certified = Arc::new(self.mint(host, now)?);
        let mut leaves = self.leaves.write();
        if leaves.len() >= CACHED_LEAVES {
            leaves.retain(|_, leaf| now < leaf.renew_at);
        }
        if leaves.len() >= CACHED_LEAVES
            && let Some(oldest) = leaves
                .iter()
                .min_by_key(|(_, leaf)| leaf.renew_at)
                .map(|(host, _)| host.clone())
        {
            leaves.remove(&oldest);
        }
        let leaf = Leaf {
            certified: Arc::clone(&certified),
            renew_at: now + DAY - RENEWED_BEFORE,
        };
        leaves.insert(host.to_owned(), leaf);
        Ok(certified)
    }

    fn mint(&self, host: &str, now: SystemTime) -> Result<CertifiedKey, AuthorityError> {
        let host_error = |problem: String| AuthorityError::Host {
            host: host.to_owned(),
            problem,
        };
        rustls::pki_types::ServerName::try_from(host).map_err(|error| host_error(error.to_string()))?;
        let mut parameters =
            CertificateParams::new([host.to_owned()]).map_err(|error| host_error(error.to_string()))?;
        parameters.distinguished_name = DistinguishedName::new();
        if host.len() <= 64 {
            // The longest CN of X.520. Without one the name stands, then critical, in the SAN alone.
            parameters.distinguished_name.push(DnType::CommonName, host);
        }
        parameters.not_before = (now - BACKDATED).into();
        parameters.not_after = (now + DAY).into();
        // Python 3.13's VERIFY_X509_STRICT wants all of RFC 5280: AKI, SKI (which rcgen writes only with an explicit
        // basicConstraints), and key usages that say what the key is for.
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(minting)?;
        let signed = parameters.signed_by(&key, &self.issuer);
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        key.zeroize();
        let certificate = signed.map_err(minting)?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&private)
            .map_err(|error| AuthorityError::Minting(error.to_string()));
        if let PrivateKeyDer::Pkcs8(mut private) = private {
            private.zeroize();
        }
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signing?))
    }
}

impl fmt::Debug for LocalAuthority {
    /// The key's place, never the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalAuthority")
            .field("certificate_path", &self.certificate_path)
            .finish_non_exhaustive()
    }
}

fn minting(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Minting(error.to_string())
}

fn root_parameters(now: SystemTime) -> CertificateParams {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine: String = machine
        .trim()
        .chars()
        .filter(char::is_ascii_graphic)
        .take(40)
        .collect();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    let name = match machine.as_str() {
        "" => "Weir local root".to_owned(),
        machine => format!("Weir local root ({machine})"),
    };
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = (now - BACKDATED).into();
    parameters.not_after = (now + ROOT_LIFETIME).into();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)); // signs leaves, no further authorities
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// What is wrong with a root read from disk, if anything.
fn check_root(certificate: &CertificateDer<'_>, key: &KeyPair, now: SystemTime) -> Result<(), String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| format!("is no certificate ({error})"))?;
    if !parsed.is_ca() {
        return Err("is not an authority's certificate".to_owned());
    }
    if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err("does not belong to the key beside it".to_owned());
    }
    let now: time::OffsetDateTime = now.into();
    let validity = parsed.validity();
    if now < validity.not_before.to_datetime() {
        return Err(format!(
            "is valid only from {} on: is this machine's clock right?",
            validity.not_before
        ));
    }
    if now + DAY > validity.not_after.to_datetime() {
        return Err(format!("is valid only until {}", validity.not_after));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
