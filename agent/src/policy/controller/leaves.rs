//! Leaf certificates that the controller signed: the agent itself holds no authority's key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use weir_api::proto;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Leaves are renewed long before they have so little time left.
const WARNED_BEFORE: Duration = Duration::from_secs(6 * 3600);
/// How often it is looked whether they are.
const LOOKED_AFTER: Duration = Duration::from_secs(600);

/// The leaves of now, by host. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct ControllerLeaves(Arc<ArcSwap<HashMap<String, Arc<CertifiedKey>>>>);

impl ControllerLeaves {
    /// The leaf for a host (lower case).
    pub fn leaf(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().get(host).cloned()
    }

    /// The hosts that there is a leaf for, in order, with when each ends.
    pub fn ends(&self) -> Vec<(String, SystemTime)> {
        let leaves = self.0.load();
        let mut ends: Vec<(String, SystemTime)> = leaves
            .iter()
            .filter_map(|(host, leaf)| Some((host.clone(), end(leaf)?)))
            .collect();
        ends.sort();
        ends
    }

    /// Warns, once, when they have not been renewed for long, as without a controller. Never returns.
    pub(super) async fn warn_of_the_end(self) {
        let mut has_warned = false;
        loop {
            let first = self.ends().into_iter().map(|(_, end)| end).min();
            let left = first.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
            let is_short = left.is_some_and(|left| left <= WARNED_BEFORE);
            if let Some(left) = left.filter(|_| is_short && !has_warned) {
                tracing::warn!(
                    "certificates for captured pods have not been renewed for hours: programs reject the first of them in {} min; does this agent hear the controller?",
                    left.as_secs() / 60
                );
            }
            has_warned = is_short;
            tokio::time::sleep(LOOKED_AFTER).await;
        }
    }

    pub(super) fn take(&self, leaves: HashMap<String, Arc<CertifiedKey>>) {
        self.0.store(Arc::new(leaves));
    }
}

impl fmt::Debug for ControllerLeaves {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.load().keys()).finish()
    }
}

fn end(leaf: &CertifiedKey) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(leaf.cert.first()?).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The leaf in a message; the error says what is wrong with it.
pub(super) fn certified(leaf: &proto::Leaf) -> Result<Arc<CertifiedKey>, String> {
    let chain: Vec<CertificateDer<'static>> = leaf
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    if chain.is_empty() {
        return Err("chain: has no certificate".to_owned());
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.private_key.as_slice()));
    // Checks that the key is that of the certificate.
    CertifiedKey::from_der(chain, key.clone_key(), &crate::trust::crypto())
        .map(Arc::new)
        .map_err(|error| format!("private_key: {error}"))
}
