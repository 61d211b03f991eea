use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{KEPT_UNUSED, TrustFiles, sweep};
use crate::trust::LocalAuthority;

/// A state directory, and another root that stands for the user's choice.
struct Fixture {
    state: tempfile::TempDir,
    authority: LocalAuthority,
    user: tempfile::TempDir,
    users_root: CertificateDer<'static>,
}

fn fixture() -> Fixture {
    let state = tempfile::tempdir().expect("a temporary directory");
    let user = tempfile::tempdir().expect("a temporary directory");
    let other = LocalAuthority::open(user.path()).expect("a root");
    Fixture {
        authority: LocalAuthority::open(state.path()).expect("a root"),
        users_root: other.certificate().clone(),
        state,
        user,
    }
}

impl Fixture {
    fn write(&self, inherited: &[(&str, &Path)]) -> TrustFiles {
        let inherited: HashMap<&str, OsString> = inherited
            .iter()
            .map(|(name, path)| (*name, path.as_os_str().to_owned()))
            .collect();
        TrustFiles::write(self.state.path(), &self.authority, |name| {
            inherited.get(name).cloned()
        })
        .expect("files")
    }

    fn users_file(&self) -> std::path::PathBuf {
        self.user.path().join("root.pem")
    }
}

fn roots(files: &TrustFiles, variable: &str) -> Vec<CertificateDer<'static>> {
    let (_, path) = files
        .variables()
        .find(|(name, _)| *name == variable)
        .expect("a variable of ours");
    let pem = fs::read(path).expect("it is there");
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .expect("certificates")
}

/// What the variables name.
fn paths(files: &TrustFiles) -> Vec<std::path::PathBuf> {
    let of = |value: std::ffi::OsString| {
        let value = value.into_string().expect("UTF-8");
        let option = value.split_once("trustStore=");
        let path = option.and_then(|(_, rest)| rest.split(' ').next());
        path.unwrap_or(&value).into()
    };
    files.variables().map(|(_, value)| of(value)).collect()
}

#[test]
fn java_is_told_by_a_variable_that_is_free() {
    let fixture = fixture();
    let of_java = |inherited: &[(&str, &Path)]| {
        let files = fixture.write(inherited);
        let mut variables = files.variables().filter(|(name, _)| name.starts_with('J'));
        variables.next().map(|(name, _)| name)
    };
    let own = Path::new("-Xmx64m");
    assert_eq!(of_java(&[]), Some("JAVA_TOOL_OPTIONS"));
    assert_eq!(of_java(&[("JAVA_TOOL_OPTIONS", own)]), Some("JDK_JAVA_OPTIONS"));
    assert_eq!(
        of_java(&[("JAVA_TOOL_OPTIONS", own), ("JDK_JAVA_OPTIONS", own)]),
        None
    );
}

#[test]
fn without_a_choice_of_the_user_it_is_the_machines_roots_and_ours() {
    let fixture = fixture();
    let files = fixture.write(&[]);
    let names: Vec<&str> = files.variables().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "AWS_CA_BUNDLE",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "NODE_EXTRA_CA_CERTS",
            "DENO_CERT",
            "JAVA_TOOL_OPTIONS"
        ]
    );
    let merged = roots(&files, "SSL_CERT_FILE");
    let machine = rustls_native_certs::load_native_certs().certs;
    assert!(!machine.is_empty(), "install ca-certificates");
    assert!(machine.iter().all(|root| merged.contains(root)));
    assert_eq!(merged.last(), Some(fixture.authority.certificate()));
    for variable in ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] {
        assert_eq!(
            roots(&files, variable),
            [fixture.authority.certificate().clone()],
            "it adds to their own"
        );
    }
}

#[test]
fn the_users_choice_is_kept_and_ours_added() {
    let fixture = fixture();
    let both = [
        fixture.users_root.clone(),
        fixture.authority.certificate().clone(),
    ];
    for variable in [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ] {
        let files = fixture.write(&[(variable, &fixture.users_file())]);
        assert_eq!(roots(&files, variable), both, "{variable}");
    }
}

#[test]
fn a_choice_that_a_reader_falls_back_to_is_not_hidden_from_it() {
    let fixture = fixture();
    let both = [
        fixture.users_root.clone(),
        fixture.authority.certificate().clone(),
    ];
    for (chosen, reads_it_too) in [
        ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
        ("SSL_CERT_FILE", "CURL_CA_BUNDLE"),
        ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"),
    ] {
        let files = fixture.write(&[(chosen, &fixture.users_file())]);
        assert_eq!(roots(&files, reads_it_too), both, "{reads_it_too} after {chosen}");
    }
}

#[test]
fn a_directory_of_certificates_is_read_too() {
    let fixture = fixture();
    let files = fixture.write(&[("REQUESTS_CA_BUNDLE", fixture.user.path())]);
    assert_eq!(
        roots(&files, "REQUESTS_CA_BUNDLE"),
        [
            fixture.users_root.clone(),
            fixture.authority.certificate().clone()
        ]
    );
}

#[test]
fn only_certificates_leave_a_users_file() {
    let fixture = fixture();
    let mixed = fixture.user.path().join("mixed.pem");
    let secret = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    let certificate = fs::read_to_string(fixture.users_file()).expect("it is there");
    fs::write(&mixed, format!("{secret}a comment\n{certificate}")).expect("ours");
    let files = fixture.write(&[("SSL_CERT_FILE", &mixed)]);
    for path in paths(&files) {
        let written = fs::read(path).expect("it is there");
        for word in ["PRIVATE", "comment"] {
            assert_eq!(memchr::memmem::find(&written, word.as_bytes()), None);
        }
    }
}

#[test]
fn a_variable_that_names_nothing_usable_counts_as_unset() {
    let fixture = fixture();
    let empty = fixture.user.path().join("empty.pem");
    fs::write(&empty, "hello").expect("ours");
    for useless in [Path::new("/does/not/exist"), Path::new(""), &empty] {
        let files = fixture.write(&[("SSL_CERT_FILE", useless)]);
        assert!(roots(&files, "SSL_CERT_FILE").len() > 2, "the machine's roots");
    }
}

#[test]
fn files_are_readable_by_everyone_and_shared_by_runs() {
    let fixture = fixture();
    let (first, second) = (fixture.write(&[]), fixture.write(&[]));
    assert_eq!(paths(&first), paths(&second));
    let bundles = fixture.state.path().join("bundles");
    assert_eq!(
        fs::read_dir(&bundles).expect("it is there").count(),
        3,
        "merged, ours alone, and Java's"
    );
    for path in paths(&first) {
        assert!(path.is_absolute());
        assert_eq!(
            fs::metadata(path).expect("it is there").permissions().mode() & 0o777,
            0o644
        );
    }
    assert_eq!(
        fs::metadata(bundles).expect("it is there").permissions().mode() & 0o777,
        0o755
    );
}

#[test]
fn what_no_run_has_used_for_long_is_swept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let now = SystemTime::now();
    let age = |name: &str, age: Duration| {
        let path = directory.path().join(name);
        let file = File::create(&path).expect("ours");
        file.set_modified(now - age).expect("ours");
        path
    };
    let old = KEPT_UNUSED + Duration::from_secs(60);
    let (fresh, stale, ours, held) = (
        age("fresh.pem", Duration::from_secs(60)),
        age("stale.pem", old),
        age("ours.pem", old),
        age("held.pem", old),
    );
    let holder = File::open(&held).expect("ours");
    holder.lock_shared().expect("free");
    sweep(directory.path(), &[&ours], now);
    assert!(fresh.exists() && ours.exists() && held.exists() && !stale.exists());
    drop(holder);
    sweep(directory.path(), &[&ours], now);
    assert!(!held.exists(), "its run has ended");
}

#[test]
fn a_directory_that_the_commands_user_may_not_enter_is_found() {
    let outer = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let private = outer.path().join("private");
    let authority = LocalAuthority::open(&private.join("state")).expect("a root");
    let files = TrustFiles::write(&private.join("state"), &authority, |_| None).expect("files");
    let somebody = 4_000_000;
    assert_eq!(files.unreachable_for(somebody, somebody), None);
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("ours");
    let found = files.unreachable_for(somebody, somebody);
    assert_eq!(found, Some(private.canonicalize().expect("it is there")));
    assert_eq!(files.unreachable_for(0, 0), None);
    let owner = nix::unistd::geteuid().as_raw();
    assert_eq!(files.unreachable_for(owner, somebody), None);
}
