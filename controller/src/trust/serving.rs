//! The certificates of the controller's own servers. Each server has an authority of its own, for the one that pods are told to trust
//! must not be able to pretend to be the controller.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, AuthorityError, NewAuthority, new_root};
use super::owner::Ownership;
use super::secrets::{Data, Verdict, data, ensure, value};
use crate::watch::follow::follow;

/// The servers' certificates end after this, and are renewed when a third of it is left.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
const RETRIED_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked whether a certificate is due.
const LOOKED_AT: Duration = Duration::from_secs(3600);

/// A server's certificate, kept valid.
#[derive(Debug)]
pub struct Serving {
    secret: &'static str,
    names: Vec<String>,
    certified: RwLock<Option<Arc<CertifiedKey>>>,
    authority_pem: watch::Sender<Option<Arc<str>>>,
}

impl Serving {
    /// For a server that is called by `names`, the first being the one that it is known by; kept in the Secret of that name.
    pub fn new(secret: &'static str, names: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            secret,
            names,
            certified: RwLock::default(),
            authority_pem: watch::channel(None).0,
        })
    }

    /// The authority by which the server is known, PEM, now and whenever it changes. `None`: there is no certificate yet.
    pub fn authority_pem(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.authority_pem.subscribe()
    }

    /// Keeps it: makes what is missing, renews what is due, takes what another replica has made. Never returns.
    pub async fn run(self: Arc<Self>, client: Client, ownership: Ownership) {
        let (seen, mut changes) = watch::channel(());
        let secrets = Api::<Secret>::default_namespaced(client.clone());
        let following = follow(secrets, self.secret, |_| {
            seen.send_replace(());
        });
        let keeping = async {
            loop {
                changes.mark_unchanged();
                let judged = ensure(&client, self.secret, &ownership, |data| {
                    judge(data, &self.names, SystemTime::now())
                });
                let wait = match judged.await {
                    Ok(good) => {
                        self.take(good);
                        LOOKED_AT
                    }
                    Err(error) => {
                        tracing::error!("{error}");
                        RETRIED_AFTER
                    }
                };
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        };
        tokio::join!(following, keeping);
    }

    fn take(&self, good: Good) {
        *self.certified.write() = Some(Arc::new(good.certified));
        self.authority_pem.send_if_modified(|last| {
            let is_changed = last.as_deref() != Some(good.authority_pem.as_str());
            if is_changed {
                *last = Some(good.authority_pem.into());
            }
            is_changed
        });
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified.read().clone()
    }
}

struct Good {
    certified: CertifiedKey,
    authority_pem: String,
}

fn judge(present: Option<&Data>, names: &[String], now: SystemTime) -> Result<Verdict<Good>, AuthorityError> {
    if let Some(good) = present.and_then(|data| good(data, names, now)) {
        return Ok(Verdict::Good(good));
    }
    // The authority is kept while it will do: those who know the server by it need not be told.
    let kept = present.and_then(|data| {
        let (certificate, key) = (value(data, "ca.crt"), value(data, "ca.key"));
        let authority = Authority::from_pem(certificate, key).ok()?;
        let is_good = authority.not_after() > now + LIFETIME;
        is_good.then(|| (authority, certificate.to_vec(), key.to_vec()))
    });
    let (authority, certificate, key) = match kept {
        Some(kept) => kept,
        None => {
            let common_name = format!("{} authority", names.first().map_or("weir", String::as_str));
            let NewAuthority {
                certificate_pem,
                key_pem,
            } = new_root(common_name.get(..64).unwrap_or(&common_name), 0, now)?;
            let authority = Authority::from_pem(certificate_pem.as_bytes(), key_pem.as_bytes())?;
            (
                authority,
                certificate_pem.into_bytes(),
                key_pem.as_bytes().to_vec(),
            )
        }
    };
    let served = authority.server_certificate(names, LIFETIME, now)?;
    Ok(Verdict::Make(data([
        ("ca.crt", &certificate),
        ("ca.key", &key),
        ("tls.crt", served.certificate_pem.as_bytes()),
        ("tls.key", served.private_key_pem.as_bytes()),
    ])))
}

/// What is in the Secret, if it is for these names and not due.
fn good(data: &Data, names: &[String], now: SystemTime) -> Option<Good> {
    let authority = Authority::from_pem(value(data, "ca.crt"), value(data, "ca.key")).ok()?;
    let certificate = CertificateDer::from_pem_slice(value(data, "tls.crt")).ok()?;
    let key = PrivateKeyDer::from_pem_slice(value(data, "tls.key")).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(authority.certificate()).ok()?;
    parsed.verify_signature(Some(issuer.public_key())).ok()?;
    let ends: SystemTime = parsed.validity().not_after.to_datetime().into();
    let alternative_names = parsed.subject_alternative_name().ok()??;
    let has = |name: &String| {
        alternative_names.value.general_names.iter().any(
            |general| matches!(general, x509_parser::extensions::GeneralName::DNSName(has) if has == name),
        )
    };
    if ends < now + RENEWED_BEFORE || !names.iter().all(has) {
        return None;
    }
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).ok()?;
    let certified = CertifiedKey::new(vec![certificate], signing);
    certified.keys_match().ok()?;
    Some(Good {
        certified,
        authority_pem: String::from_utf8(value(data, "ca.crt").to_vec()).ok()?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["weir-controller.weir-system.svc", "weir-controller.weir-system"]
            .map(str::to_owned)
            .to_vec()
    }

    fn made(present: Option<&Data>, names: &[String], now: SystemTime) -> Option<Data> {
        match judge(present, names, now).unwrap() {
            Verdict::Make(data) => Some(data),
            Verdict::Good(_) => None,
        }
    }

    #[test]
    fn it_is_renewed_before_it_ends_under_the_same_authority() {
        let now = SystemTime::now();
        let first = made(None, &names(), now).unwrap();
        assert!(made(Some(&first), &names(), now).is_none());
        let later = now + LIFETIME - RENEWED_BEFORE + Duration::from_secs(60);
        let second = made(Some(&first), &names(), later).unwrap();
        assert_eq!(second["ca.crt"], first["ca.crt"]);
        assert_ne!(second["tls.crt"], first["tls.crt"]);
        assert!(made(Some(&second), &names(), later).is_none());
    }

    #[test]
    fn what_is_for_other_names_or_damaged_is_made_anew() {
        let now = SystemTime::now();
        let first = made(None, &names(), now).unwrap();
        assert!(made(Some(&first), &["weir-controller.other.svc".to_owned()], now).is_some());
        for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
            let mut damaged = first.clone();
            damaged.remove(key);
            assert!(made(Some(&damaged), &names(), now).is_some(), "{key}");
        }
        let other = made(None, &names(), now).unwrap();
        let mut mixed = first.clone();
        mixed.insert("tls.key".to_owned(), other["tls.key"].clone());
        assert!(made(Some(&mixed), &names(), now).is_some());
        mixed.insert("tls.crt".to_owned(), other["tls.crt"].clone());
        assert!(
            made(Some(&mixed), &names(), now).is_some(),
            "signed by another authority"
        );
    }
}
