//! Where the leaf for a host comes from.

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::LocalAuthority;
use crate::policy::controller::ControllerLeaves;

/// Who signs the leaves that clients are shown.
#[derive(Clone, Debug)]
pub enum Leaves {
    /// This machine's own root: `weir run`.
    Local(Arc<LocalAuthority>),
    /// The controller, beforehand: `weir agent`.
    Controller(ControllerLeaves),
}

impl Leaves {
    /// The leaf for a host (lower case); the error says why there is none.
    pub(crate) fn leaf(&self, host: &str) -> Result<Arc<CertifiedKey>, String> {
        match self {
            Self::Local(authority) => authority.leaf(host).map_err(|error| error.to_string()),
            Self::Controller(leaves) => leaves
                .leaf(host)
                .ok_or_else(|| "the controller has sent none".to_owned()),
        }
    }
}
