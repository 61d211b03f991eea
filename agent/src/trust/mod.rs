//! Who vouches for whom: the local root and its leaves, what the captured command is given to trust, and the roots
//! that upstream is held against.
//!
//! A command captured by `weir run` meets a leaf that [`LocalAuthority`] minted for the host it dialled. It accepts
//! it because [`TrustFiles`] hold its usual roots plus ours and [`child_environment`] points its TLS library there.
//! Where it does not, [`is_distrust`] tells that failure from others and [`DistrustReporter`] says what to do.

mod authority;
mod bundle;
mod distrust;
mod environment;
mod leaves;
mod roots;
mod store;

pub use authority::{AuthorityError, LocalAuthority};
pub use bundle::{BundleError, TrustFiles};
pub use distrust::{DistrustReporter, is_distrust, may_be_distrust};
pub use environment::{child_environment, is_placeholder};
pub use leaves::Leaves;
pub use roots::{RootsError, roots_from_pem, upstream_roots};

/// The cryptography that TLS runs on, on both sides.
pub(crate) fn crypto() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    std::sync::Arc::clone(
        PROVIDER.get_or_init(|| std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())),
    )
}
