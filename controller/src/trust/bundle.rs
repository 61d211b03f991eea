//! What ConfigMap `weir-trust` holds: the public roots and ours, in the forms that programs read.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use weir_api::java;

use super::copies::Content;
use super::root::Roots;
use crate::names::{BUNDLE_KEY, JAVA_KEY, ROOT_KEY};

/// It is made once for these roots: there are pods' changes all the time.
pub(super) struct Bundle {
    of: Arc<Roots>,
    pub(super) content: Arc<Content>,
}

impl Bundle {
    /// `made`, made anew if it is of other roots.
    pub(super) fn of<'a>(made: &'a mut Option<Self>, roots: Arc<Roots>, public_roots: &str) -> &'a Self {
        made.take_if(|bundle| !Arc::ptr_eq(&bundle.of, &roots));
        made.get_or_insert_with(|| Self {
            content: Arc::new(trusted(public_roots, &roots.trusted_pem)),
            of: roots,
        })
    }
}

/// What `weir-trust` holds of the public roots and ours, both in PEM.
fn trusted(public_roots: &str, ours: &str) -> Content {
    let bundle = bundle(public_roots, ours);
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok);
    let java = java::trust_store(certificates);
    Content::new(
        BTreeMap::from([
            (BUNDLE_KEY.to_owned(), bundle),
            (ROOT_KEY.to_owned(), ours.to_owned()),
        ]),
        BTreeMap::from([(JAVA_KEY.to_owned(), ByteString(java))]),
    )
}

fn bundle(public_roots: &str, ours: &str) -> String {
    format!("{}\n{ours}", public_roots.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_ends_with_our_root() {
        assert_eq!(bundle("public\n\n", "ours\n"), "public\nours\n");
    }
}
