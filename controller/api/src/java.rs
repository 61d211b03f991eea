//! Java's trust store: JVMs read no variable that names certificates in PEM.

use std::collections::HashSet;

use rustls_pki_types::CertificateDer;
use sha1::{Digest, Sha1};

/// Variables that JVMs take options from, beside those of their command line, which go before: the first is read by any JVM, the second by the `java` launcher since 9.
/// Both are read, so where a program has the one for itself, the other will do.
pub const OPTIONS_VARIABLES: [&str; 2] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"];

/// Checks that nothing was changed by mistake; Java's own habit.
const PASSWORD: &str = "changeit";

/// The options by which a JVM trusts what is in the store at `path`, and nothing else.
pub fn options(path: &str) -> String {
    format!("-Djavax.net.ssl.trustStore={path} -Djavax.net.ssl.trustStoreType=JKS")
}

/// A trust store in Java's own format (JKS), which every JVM reads, without a password or with `changeit`. The same certificates make the same bytes.
/// A certificate that comes twice is in it once.
pub fn trust_store<'a>(certificates: impl IntoIterator<Item = CertificateDer<'a>>) -> Vec<u8> {
    let mut seen = HashSet::new();
    let certificates: Vec<_> = certificates
        .into_iter()
        .filter(|certificate| seen.insert(certificate.clone()))
        .collect();
    let mut store = Vec::new();
    let number = |store: &mut Vec<u8>, value: usize| {
        // A certificate of more than 4 GiB is none.
        store.extend(u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
    };
    number(&mut store, 0xFEED_FEED);
    number(&mut store, 2);
    number(&mut store, certificates.len());
    for (index, certificate) in certificates.iter().enumerate() {
        number(&mut store, 2); // a trusted certificate, not a key
        text(&mut store, &format!("weir-{index}"));
        store.extend(0u64.to_be_bytes()); // when it was put in: always the same
        text(&mut store, "X.509");
        number(&mut store, certificate.len());
        store.extend_from_slice(certificate);
    }
    let mut digest = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        digest.update(unit.to_be_bytes());
    }
    digest.update(b"Mighty Aphrodite"); // so the format has it
    digest.update(&store);
    store.extend(digest.finalize());
    store
}

/// ASCII, of which Java's modified UTF-8 is no different.
fn text(store: &mut Vec<u8>, text: &str) {
    store.extend((text.len() as u16).to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::trust_store;

    #[test]
    fn a_certificate_is_in_it_once() {
        let certificate = |byte: u8| CertificateDer::from(vec![byte; 3]);
        let store = trust_store([certificate(1), certificate(2), certificate(1)]);
        assert_eq!(store[..12], [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 2]);
        let entry = 4 + 2 + "weir-0".len() + 8 + 2 + "X.509".len() + 4 + 3;
        assert_eq!(store.len(), 12 + 2 * entry + 20);
    }
}
