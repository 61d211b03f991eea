//! The pair on disk: its names, what makes it unfit, and the errors that say so.

use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use super::AuthorityError;
use crate::trust::store;

const CERTIFICATE_FILE: &str = "root.pem";
const KEY_FILE: &str = "root.key";
/// A PEM file of ours is below 1 KiB.
const FILE_LIMIT: u64 = 64 * 1024;

/// The pair's paths, and the errors that name them.
pub(super) struct Files {
    pub(super) key: PathBuf,
    pub(super) certificate: PathBuf,
}

impl Files {
    pub(super) fn of(state_directory: &Path) -> Self {
        Self {
            key: state_directory.join(KEY_FILE),
            certificate: state_directory.join(CERTIFICATE_FILE),
        }
    }

    pub(super) fn damaged(&self, path: &Path, problem: &str) -> AuthorityError {
        AuthorityError::Damaged {
            path: path.to_owned(),
            key: self.key.clone(),
            certificate: self.certificate.clone(),
            problem: problem.to_owned(),
        }
    }

    pub(super) fn read_key(&self) -> Result<Option<KeyPair>, AuthorityError> {
        let Some(content) = read(&self.key)? else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(content.bytes);
        let exposed = |problem: String, mend: String| AuthorityError::Exposed {
            path: self.key.clone(),
            certificate: self.certificate.clone(),
            problem,
            mend,
        };
        let user = nix::unistd::geteuid().as_raw();
        if content.owner != user {
            return Err(exposed(
                format!(
                    "belongs to user {}, not to user {user} who runs Weir",
                    content.owner
                ),
                format!("chown {user} {}", self.key.display()),
            ));
        }
        if content.mode & 0o077 != 0 {
            return Err(exposed(
                format!("may be read by others (mode {:04o})", content.mode),
                format!("chmod 600 {}", self.key.display()),
            ));
        }
        let pem = std::str::from_utf8(&bytes).map_err(|_| self.damaged(&self.key, "is not text"))?;
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|error| self.damaged(&self.key, &format!("is no P-256 key in PKCS#8 PEM ({error})")))?;
        Ok(Some(key))
    }

    pub(super) fn read_certificate(&self) -> Result<Option<String>, AuthorityError> {
        read(&self.certificate)?
            .map(|content| {
                String::from_utf8(content.bytes).map_err(|_| self.damaged(&self.certificate, "is not text"))
            })
            .transpose()
    }
}

fn read(path: &Path) -> Result<Option<store::Content>, AuthorityError> {
    store::read(path, FILE_LIMIT).map_err(|source| AuthorityError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
