//! The interception root: the Secret `weir-root`, and what it comes to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;

use super::authority::{Authority, AuthorityError, new_root};
use super::owner::Ownership;
use super::secrets::{Data, SecretError, Verdict, data, ensure, value};
use crate::names::ROOT_SECRET;
use crate::watch::follow::follow;

/// One authority stands between it and a leaf: the intermediate.
const PATH_LENGTH: u8 = 1;
const RETRIED_AFTER: Duration = Duration::from_secs(5);

/// What signs, and what is trusted.
#[derive(Debug)]
pub struct Roots {
    /// Signs intermediates.
    pub authority: Authority,
    /// All roots, PEM: the one that signs first, then every other certificate of the Secret. During a rotation pods trust both, so that
    /// which of them signs can change when the last pod that knew only one of them has gone.
    pub trusted_pem: String,
}

/// Follows the root: makes it where there is none, and tells when it has changed. Never returns.
pub async fn run(client: Client, ownership: Ownership, roots: watch::Sender<Option<Arc<Roots>>>) {
    let (seen, mut changes) = watch::channel(());
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let following = follow(secrets, ROOT_SECRET, |_| {
        seen.send_replace(());
    });
    let keeping = async {
        loop {
            changes.mark_unchanged();
            match ensure(&client, ROOT_SECRET, &ownership, |data| {
                judge(data, SystemTime::now())
            })
            .await
            {
                Ok(now) => {
                    roots.send_if_modified(|last| {
                        let is_changed = last
                            .as_ref()
                            .is_none_or(|last| last.trusted_pem != now.trusted_pem);
                        if is_changed {
                            *last = Some(Arc::new(now));
                        }
                        is_changed
                    });
                }
                Err(error) => {
                    tracing::error!("{error}");
                    tokio::time::sleep(RETRIED_AFTER).await;
                    if matches!(error, SecretError::Api { .. }) {
                        continue;
                    }
                }
            }
            // The sender lives as long as this does.
            let _ = changes.changed().await;
        }
    };
    tokio::join!(following, keeping);
}

/// A root that is there is never replaced: pods trust it. What can't be read is for somebody to look at.
fn judge(present: Option<&Data>, now: SystemTime) -> Result<Verdict<Roots>, AuthorityError> {
    let Some(present) = present else {
        let root = new_root("Weir root", PATH_LENGTH, now)?;
        let values = [
            ("tls.crt", root.certificate_pem.as_bytes()),
            ("tls.key", root.key_pem.as_bytes()),
        ];
        return Ok(Verdict::Make(data(values)));
    };
    let authority = Authority::from_pem(value(present, "tls.crt"), value(present, "tls.key")).map_err(|error| {
        AuthorityError::Damaged(format!(
            "can't be used ({error}): put back its tls.crt and tls.key, or delete the Secret for a new root, which pods trust once they are restarted"
        ))
    })?;
    let mut trusted_pem = text(value(present, "tls.crt"))?;
    for key in present.keys() {
        if key.ends_with(".crt") && key != "tls.crt" {
            trusted_pem.push_str(&text(value(present, key))?);
        }
    }
    Ok(Verdict::Good(Roots {
        authority,
        trusted_pem,
    }))
}

fn text(pem: &[u8]) -> Result<String, AuthorityError> {
    let text = std::str::from_utf8(pem)
        .map_err(|_| AuthorityError::Damaged("has a .crt that is no PEM".to_owned()))?;
    Ok(format!("{}\n", text.trim()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use super::*;

    fn made() -> Data {
        match judge(None, SystemTime::now()).unwrap() {
            Verdict::Make(data) => data,
            Verdict::Good(_) => panic!("there was none"),
        }
    }

    #[test]
    fn what_was_made_is_good_and_stays() {
        let data = made();
        let Verdict::Good(roots) = judge(Some(&data), SystemTime::now()).unwrap() else {
            panic!("it was replaced");
        };
        assert_eq!(roots.trusted_pem.matches("BEGIN CERTIFICATE").count(), 1);
    }

    #[test]
    fn every_certificate_of_the_secret_is_trusted_the_signing_one_first() {
        let (mut now, other) = (made(), made());
        now.insert("previous.crt".to_owned(), other["tls.crt"].clone());
        let Verdict::Good(roots) = judge(Some(&now), SystemTime::now()).unwrap() else {
            panic!("it was replaced");
        };
        assert_eq!(roots.trusted_pem.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(
            roots
                .trusted_pem
                .starts_with(&text(value(&now, "tls.crt")).unwrap())
        );
    }

    #[test]
    fn a_damaged_root_is_told_and_not_replaced() {
        let mut damaged = made();
        damaged.remove("tls.key");
        let error = judge(Some(&damaged), SystemTime::now())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("put back") && error.contains("delete the Secret"),
            "{error}"
        );
    }
}
