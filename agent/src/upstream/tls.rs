//! Whom to trust upstream. Verification is never off.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};

use super::own_authorities::OwnAuthorities;
use super::sender::Protocol;

/// The roots that public servers are verified against.
pub type PublicRoots = Arc<RootCertStore>;

/// How many client configurations are kept: one per set of authorities and protocol. More than backends with an authority of
/// their own are only seen while these change.
const MOST_CONFIGS: usize = 256;

/// Makes and keeps the TLS client configurations.
pub struct UpstreamTls {
    public_roots: PublicRoots,
    configs: Mutex<HashMap<ConfigKey, Arc<ClientConfig>>>,
}

/// The authorities (PEM) or none for the public roots, and what is offered.
type ConfigKey = (Option<Arc<[u8]>>, Protocol);

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UpstreamTls")
            .field("public_roots", &self.public_roots.len())
            .finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// Verifies servers against these roots where a backend names no authorities.
    pub fn new(public_roots: PublicRoots) -> Self {
        Self {
            public_roots,
            configs: Mutex::default(),
        }
    }

    /// The configuration for these authorities. Kept, so that sessions are resumed. The error says what is wrong with the PEM.
    pub(super) fn config(
        &self,
        authorities: Option<&Arc<[u8]>>,
        offered: Protocol,
    ) -> Result<Arc<ClientConfig>, String> {
        let key = (authorities.cloned(), offered);
        if let Some(config) = self.configs.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let crypto = crate::trust::crypto();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&crypto))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match authorities {
            None => builder.with_root_certificates(Arc::clone(&self.public_roots)),
            Some(pem) => {
                let (roots, certificates) =
                    crate::trust::roots_from_pem(pem).map_err(|error| error.to_string())?;
                let verifier = OwnAuthorities::new(certificates, roots, crypto)?;
                // "Dangerous" is the builder's word for any verifier of one's own.
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = match offered {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let config = Arc::new(config);
        let mut configs = self.configs.lock();
        if configs.len() >= MOST_CONFIGS {
            configs.clear();
        }
        configs.insert(key, Arc::clone(&config));
        Ok(config)
    }
}
