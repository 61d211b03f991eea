use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{CACHED_LEAVES, DAY, HOUR, LocalAuthority, RENEWED_BEFORE, ROOT_LIFETIME};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn open(directory: &Path) -> LocalAuthority {
    LocalAuthority::open(directory).expect("a root")
}

fn refusal(directory: &Path) -> String {
    LocalAuthority::open(directory)
        .expect_err("no root from this")
        .to_string()
}

/// The extensions that strict verifiers ask for, by their short names.
fn extensions(der: &[u8]) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
    certificate
        .extensions()
        .iter()
        .map(|extension| {
            let critical = if extension.critical { "critical " } else { "" };
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(_) => "AKI".to_owned(),
                ParsedExtension::SubjectKeyIdentifier(_) => "SKI".to_owned(),
                ParsedExtension::KeyUsage(usage) => format!("{critical}{usage}"),
                ParsedExtension::BasicConstraints(constraints) => {
                    format!(
                        "{critical}CA {} {:?}",
                        constraints.ca, constraints.path_len_constraint
                    )
                }
                ParsedExtension::ExtendedKeyUsage(usage) => format!("server {}", usage.server_auth),
                ParsedExtension::SubjectAlternativeName(names) => names
                    .general_names
                    .iter()
                    .map(|name| match name {
                        GeneralName::DNSName(name) => format!("{critical}DNS {name}"),
                        other => format!("{critical}{other}"),
                    })
                    .collect(),
                other => format!("{other:?}"),
            }
        })
        .collect()
}

#[test]
fn the_root_is_made_once_with_modes_that_keep_its_key() {
    let directory = directory();
    let state = directory.path().join("var/lib/weir");
    let first = open(&state);
    assert_eq!(mode(&state), 0o755);
    assert_eq!(mode(&state.join("root.key")), 0o600);
    assert_eq!(mode(&state.join("root.pem")), 0o644);
    assert_eq!(open(&state).certificate(), first.certificate());
    assert_eq!(first.certificate_path(), state.join("root.pem"));
}

#[test]
fn the_root_is_what_strict_verifiers_want() {
    let directory = directory();
    let root = open(directory.path());
    assert_eq!(
        extensions(root.certificate()),
        [
            "critical Key Cert Sign, CRL Sign",
            "SKI",
            "critical CA true Some(0)"
        ]
    );
}

#[test]
fn a_leaf_is_what_strict_verifiers_want() {
    let directory = directory();
    let leaf = open(directory.path()).leaf("api.openai.com").expect("a leaf");
    assert_eq!(
        extensions(&leaf.cert[0]),
        [
            "AKI",
            "DNS api.openai.com",
            "critical Digital Signature",
            "server true",
            "SKI",
            "critical CA false None"
        ]
    );
}

#[test]
fn a_name_too_long_for_a_common_name_stands_in_the_san_alone() {
    let directory = directory();
    let host = format!("{}.example.com", "a".repeat(60));
    let leaf = open(directory.path()).leaf(&host).expect("a leaf");
    assert_eq!(extensions(&leaf.cert[0])[1], format!("critical DNS {host}"));
}

#[test]
fn an_address_gets_a_leaf_and_nonsense_an_error() {
    let directory = directory();
    let authority = open(directory.path());
    authority.leaf("127.0.0.1").expect("an address is a name too");
    for host in ["", "*.openai.com", "api openai com", "bücher.example", "a..b"] {
        let error = authority.leaf(host).expect_err(host).to_string();
        assert!(
            error.contains("is not a name that a certificate can carry"),
            "{error}"
        );
    }
}

#[test]
fn the_debug_form_keeps_the_key() {
    let directory = directory();
    let debug = format!("{:?}", open(directory.path()));
    assert!(
        debug.starts_with("LocalAuthority { certificate_path: "),
        "{debug}"
    );
}

#[test]
fn runs_started_at_once_share_one_root() {
    let directory = directory();
    let start = Barrier::new(8);
    let roots: Vec<CertificateDer<'static>> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    open(directory.path()).certificate().clone()
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("no panic"))
            .collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn a_crash_between_key_and_certificate_is_made_good() {
    let directory = directory();
    let first = open(directory.path()).issuer.key().public_key_raw().to_vec();
    fs::remove_file(directory.path().join("root.pem")).expect("it was there");
    assert_eq!(open(directory.path()).issuer.key().public_key_raw(), first);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let directory = directory();
    open(directory.path());
    let key = directory.path().join("root.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("ours");
    let error = refusal(directory.path());
    assert!(error.contains("may be read by others (mode 0640)"), "{error}");
    assert!(
        error.ends_with(&format!("chmod 600 {}", key.display())),
        "{error}"
    );
}

#[test]
fn a_damaged_file_is_named_with_the_mend() {
    let directory = directory();
    let (key, certificate) = (
        directory.path().join("root.key"),
        directory.path().join("root.pem"),
    );
    let mend = format!(
        "; remove {} and {} and the next run makes a new root",
        key.display(),
        certificate.display()
    );
    for (damaged, content, problem) in [
        (&key, "hello", "is no P-256 key in PKCS#8 PEM"),
        (&certificate, "hello", "is no PEM certificate"),
        (
            &certificate,
            "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
            "is no certificate",
        ),
        (&certificate, "", "is no PEM certificate"),
    ] {
        let _ = fs::remove_file(&key);
        let _ = fs::remove_file(&certificate);
        open(directory.path());
        fs::write(damaged, content).expect("ours");
        let error = refusal(directory.path());
        assert!(
            error.starts_with(&format!("{}: {problem}", damaged.display())),
            "{error}"
        );
        assert!(error.ends_with(&mend), "{error}");
    }
}

#[test]
fn halves_of_two_pairs_are_refused() {
    let (ours, others) = (directory(), directory());
    open(ours.path());
    open(others.path());
    fs::copy(others.path().join("root.pem"), ours.path().join("root.pem")).expect("ours");
    assert!(refusal(ours.path()).contains("does not belong to the key beside it"));
    fs::remove_file(ours.path().join("root.key")).expect("ours");
    assert!(refusal(ours.path()).contains("is missing while its certificate is there"));
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let (ours, others) = (directory(), directory());
    open(others.path());
    std::os::unix::fs::symlink(others.path().join("root.key"), ours.path().join("root.key")).expect("ours");
    assert!(refusal(ours.path()).contains("it can't be read"));
}

#[test]
fn a_root_out_of_its_time_is_refused() {
    let directory = directory();
    let now = SystemTime::now();
    LocalAuthority::open_at(directory.path(), now).expect("a root");
    let late = LocalAuthority::open_at(directory.path(), now + ROOT_LIFETIME).expect_err("over");
    assert!(late.to_string().contains("is valid only until"), "{late}");
    let early = LocalAuthority::open_at(directory.path(), now - DAY).expect_err("not yet");
    assert!(
        early.to_string().contains("is this machine's clock right?"),
        "{early}"
    );
}

#[test]
fn a_leaf_is_kept_until_it_is_to_be_renewed() {
    let directory = directory();
    let authority = open(directory.path());
    let now = SystemTime::now();
    let first = authority.leaf_at("api.openai.com", now).expect("a leaf");
    let before = now + DAY - RENEWED_BEFORE - Duration::from_secs(1);
    let same = authority.leaf_at("api.openai.com", before).expect("a leaf");
    assert!(Arc::ptr_eq(&first, &same));
    let renewed = authority
        .leaf_at("api.openai.com", now + DAY - RENEWED_BEFORE)
        .expect("a leaf");
    assert!(!Arc::ptr_eq(&first, &renewed));

    let (_, leaf) = X509Certificate::from_der(&first.cert[0]).expect("a certificate");
    let validity = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert_eq!(validity as u64, (DAY + HOUR).as_secs());
}

#[test]
fn a_burst_of_first_connections_mints_one_leaf() {
    let directory = directory();
    let authority = open(directory.path());
    let start = Barrier::new(16);
    let leaves: Vec<Arc<CertifiedKey>> = std::thread::scope(|scope| {
        let connections: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    authority.leaf("api.openai.com").expect("a leaf")
                })
            })
            .collect();
        connections
            .into_iter()
            .map(|connection| connection.join().expect("no panic"))
            .collect()
    });
    assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])));
}

#[test]
fn the_cache_is_bounded() {
    let directory = directory();
    let authority = open(directory.path());
    for index in 0..CACHED_LEAVES + 10 {
        authority
            .leaf(&format!("host-{index}.example.com"))
            .expect("a leaf");
    }
    assert_eq!(authority.leaves.read().len(), CACHED_LEAVES);
}
