use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{Authority, Leaf, new_root};

fn root(now: SystemTime) -> Authority {
    let new = new_root("Weir root", 1, now).expect("a root");
    Authority::from_pem(new.certificate_pem.as_bytes(), new.key_pem.as_bytes()).expect("reads what it wrote")
}

/// As a client of rustls would verify it.
fn verify(root: &Authority, leaf: &Leaf, host: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add(root.certificate().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .expect("a verifier");
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"));
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let intermediates = [leaf.intermediate.clone()];
    verifier
        .verify_server_cert(&leaf.certificate.certificate, &intermediates, &name, &[], now)
        .map(|_| ())
}

#[test]
fn a_leaf_is_good_for_its_host_for_a_day() {
    let now = SystemTime::now();
    let root = root(now);
    let leaf = root.leaf("api.openai.com", now).expect("minted");
    verify(&root, &leaf, "api.openai.com", now).expect("trusted");
    verify(&root, &leaf, "api.x.ai", now).expect_err("another's name");
    let later = now + Duration::from_secs(25 * 3600);
    verify(&root, &leaf, "api.openai.com", later).expect_err("over");
    assert_eq!(leaf.certificate.renew_at, now + Duration::from_secs(12 * 3600));
}

#[test]
fn an_intermediate_vouches_for_nothing_beyond_its_host() {
    let now = SystemTime::now();
    let root = root(now);
    for host in [
        "bank.example",
        "openai.com",
        "api.x.ai",
        "192.0.2.1",
        "2001:db8::1",
    ] {
        let leaf = root
            .leaf_below("api.openai.com", host, now)
            .expect("nothing keeps the key's holder from signing");
        verify(&root, &leaf, host, now).expect_err(host);
    }
}

#[test]
fn constraints_are_critical_and_the_path_ends_at_the_intermediate() {
    let now = SystemTime::now();
    let leaf = root(now).leaf("api.openai.com", now).expect("minted");
    let (_, parsed) = X509Certificate::from_der(&leaf.intermediate).expect("parses");
    let (critical, constraints) = parsed
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) => Some((extension.critical, constraints)),
            _ => None,
        })
        .expect("there");
    assert!(critical);
    let permitted: Vec<_> = constraints
        .permitted_subtrees
        .iter()
        .flatten()
        .map(|subtree| &subtree.base)
        .collect();
    assert_eq!(permitted, [&GeneralName::DNSName("api.openai.com")]);
    let basic = parsed.basic_constraints().expect("parses").expect("there");
    assert_eq!(basic.value.path_len_constraint, Some(0));
}

/// So that a key which signed one leaf signs no other.
#[test]
fn each_leaf_has_an_intermediate_of_its_own() {
    let now = SystemTime::now();
    let root = root(now);
    let [one, other] = [(), ()].map(|()| root.leaf("api.openai.com", now).expect("minted"));
    let mixed = Leaf {
        intermediate: other.intermediate,
        ..one
    };
    verify(&root, &mixed, "api.openai.com", now).expect_err("signed by another key");
}

#[test]
fn nothing_outlives_its_root() {
    let now = SystemTime::now();
    let root = root(now);
    let near_the_end = root.not_after() - Duration::from_secs(3600);
    let leaf = root.leaf("api.openai.com", near_the_end).expect("minted");
    assert!(leaf.certificate.not_after <= root.not_after());
    let (_, intermediate) = X509Certificate::from_der(&leaf.intermediate).expect("parses");
    let end: SystemTime = intermediate.validity().not_after.to_datetime().into();
    assert!(end <= root.not_after());
}

#[test]
fn what_is_no_pair_is_refused_with_what_is_wrong_with_it() {
    let now = SystemTime::now();
    let one = new_root("one", 1, now).expect("a root");
    let other = new_root("other", 1, now).expect("a root");
    let leaf = root(now)
        .server_certificate(&["weir".to_owned()], Duration::from_secs(60), now)
        .expect("minted");
    let cases = [
        ("", one.key_pem.as_str(), "no PEM certificate"),
        (one.certificate_pem.as_str(), "", "a key that can't be read"),
        (
            one.certificate_pem.as_str(),
            other.key_pem.as_str(),
            "does not belong",
        ),
        (
            leaf.certificate_pem.as_str(),
            leaf.private_key_pem.as_str(),
            "not an authority's",
        ),
    ];
    for (certificate, key, wanted) in cases {
        let error = Authority::from_pem(certificate.as_bytes(), key.as_bytes()).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
