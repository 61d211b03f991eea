//! The table of cases: every file in `tests/cases` is a configuration, whose last lines (`#= …`) say what must come of it: the backends
//! of the snapshot, or the problems to the letter. `WEIR_WRITE_CASES=1` writes those lines anew: read the difference before committing it.
#![allow(clippy::unwrap_used)] // in a test it is an assertion

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use weir_api::{AllowedNamespaces, Auth, EndpointTls, Policy, Snapshot, load, parse, translate};

const MARK: &str = "#=";

fn environment(name: &str) -> Option<String> {
    match name {
        "OPENAI_API_KEY" => Some("sk-of-the-environment".to_owned()),
        "TRICKY" => Some("${OPENAI_API_KEY}".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn summary(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for backend in snapshot.backends() {
        let auth = match &backend.auth {
            Auth::Passthrough => "passthrough".to_owned(),
            Auth::Key(key) => format!("key {}", key.expose_secret()),
            Auth::Unresolved(why) => format!("unresolved: {why}"),
        };
        let allowed = match &backend.allowed_namespaces {
            AllowedNamespaces::All => "All".to_owned(),
            AllowedNamespaces::Named(_)
                if backend.allowed_namespaces == AllowedNamespaces::only(&backend.namespace) =>
            {
                "Same".to_owned()
            }
            AllowedNamespaces::Named(names) => format!("{names:?}"),
        };
        writeln!(
            text,
            "{}/{}: {}, hosts {}, {auth}, for {allowed}, dial {:?}, untrusted {:?}",
            backend.namespace,
            backend.name,
            backend.provider.field(),
            backend.hosts.join(" "),
            backend.dial,
            backend.on_untrusted
        )
        .unwrap();
        if let Some(endpoint) = &backend.endpoint {
            let tls = match &endpoint.tls {
                EndpointTls::Plaintext => "plaintext".to_owned(),
                EndpointTls::Verify {
                    server_name,
                    authorities,
                } => {
                    let roots = authorities.as_ref().map_or("public roots".to_owned(), |pem| {
                        format!(
                            "{} authorities",
                            String::from_utf8_lossy(pem).matches("BEGIN CERT").count()
                        )
                    });
                    format!(
                        "TLS for {}, {roots}",
                        server_name.as_deref().unwrap_or(&endpoint.host)
                    )
                }
            };
            let prefix = endpoint.path_prefix.as_deref().unwrap_or("no prefix");
            writeln!(
                text,
                "    sent to {} port {}, {prefix}, {tls}",
                endpoint.host, endpoint.port
            )
            .unwrap();
        }
    }
    for policy in snapshot.policies() {
        writeln!(
            text,
            "{}/{}: {}",
            policy.namespace,
            policy.name,
            policy_summary(policy)
        )
        .unwrap();
        for backend in snapshot.backends() {
            if backend.policies.contains(policy) {
                writeln!(text, "    for {}/{}", backend.namespace, backend.name).unwrap();
            }
        }
        for workloads in &policy.workloads {
            let account = workloads.service_account.as_deref().unwrap_or("any");
            let namespace = &workloads.namespace;
            writeln!(
                text,
                "    for workloads of {namespace}, service account {account}, labels {:?}",
                workloads.labels
            )
            .unwrap();
        }
    }
    text
}

fn policy_summary(policy: &Policy) -> String {
    let mut parts = Vec::new();
    for (what, globs) in [
        ("models", &policy.allowed_models),
        ("no models", &policy.denied_models),
    ] {
        parts.extend((!globs.is_empty()).then(|| format!("{what} {globs:?}")));
    }
    for (what, operations) in [
        ("operations", &policy.allowed_operations),
        ("no operations", &policy.denied_operations),
    ] {
        parts.extend((!operations.is_empty()).then(|| format!("{what} {operations:?}")));
    }
    for (name, value) in &policy.set_headers {
        parts.push(format!("sets {name}: {value:?}"));
    }
    for name in &policy.remove_headers {
        parts.push(format!("removes {name}"));
    }
    let timeouts = policy.timeouts;
    for (what, limit) in [
        ("connect", timeouts.connect),
        ("first byte", timeouts.first_byte),
        ("idle", timeouts.idle),
    ] {
        parts.extend(limit.map(|limit| format!("{what} {limit:?}")));
    }
    parts.extend(policy.failure_policy.map(|failure| format!("fails {failure:?}")));
    parts.join(", ")
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() > 20, "cases are missing: {cases:?}");
    cases
}

#[test]
fn every_case_gives_what_its_last_lines_say() {
    let mut wrong = String::new();
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let (input, expected) = match text.find(MARK) {
            Some(at) => text.split_at(at),
            None => (text.as_str(), ""),
        };
        let result = match load([("weir.yaml", input)], &environment) {
            Ok(snapshot) => summary(&snapshot),
            Err(problems) => problems.to_string(),
        };
        let found: String = result.lines().map(|line| format!("{MARK} {line}\n")).collect();
        if std::env::var_os("WEIR_WRITE_CASES").is_some() {
            fs::write(&path, format!("{input}{found}")).unwrap();
        } else if found != expected {
            write!(
                wrong,
                "{}\nexpected:\n{expected}found:\n{found}\n",
                path.display()
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The two steps that a controller takes, and the one of `weir run`, agree.
#[test]
fn parse_and_translate_give_what_load_gives() {
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let whole = load([("weir.yaml", text.as_str())], &environment);
        let steps = parse("weir.yaml", &text, &environment).and_then(|objects| translate(&objects));
        match (whole, steps) {
            (Ok(whole), Ok(steps)) => assert_eq!(summary(&whole), summary(&steps)),
            (Err(whole), Err(steps)) => {
                for problem in steps.iter() {
                    assert!(whole.iter().any(|other| other == problem), "{problem}");
                }
            }
            // A file without an object: no problem of `parse`, which knows nothing of files.
            (Err(whole), Ok(steps)) => assert!(steps.backends().is_empty(), "{whole}"),
            (Ok(_), Err(steps)) => panic!("{steps}"),
        }
    }
}

/// Keys, as they are written in the cases, must not come out of `Debug` of anything, nor of a problem.
#[test]
fn nothing_prints_a_key() {
    let mut keys = 0;
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let input = &text[..text.find(MARK).unwrap_or(text.len())];
        let objects = parse("weir.yaml", input, &environment);
        let mut printed = format!("{objects:?}");
        let result = load([("weir.yaml", input)], &environment);
        printed.push_str(&format!("{result:?} {result:#?}"));
        if let Err(problems) = &result {
            printed.push_str(&problems.to_string());
        }
        assert!(!printed.contains("sk-"), "{}: {printed}", path.display());
        // Of a Vec of bytes, Debug would give numbers: "115, 107, 45" is "sk-".
        assert!(!printed.contains("115, 107, 45"), "{}: {printed}", path.display());
        keys += input.matches("sk-").count();
    }
    assert!(keys > 10, "the cases should have keys in them");
}

#[test]
fn several_files_are_one_configuration() {
    let backend = "apiVersion: weir.dev/v1alpha1\nkind: AIBackend\nmetadata: {name: openai}\nspec: {provider: {openai: {}}, auth: {secretRef: {name: key}}}\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {apiKey: sk-1}\n";
    let snapshot = load([("a.yaml", backend), ("b.yaml", secret)], &environment).unwrap();
    assert_eq!(snapshot.backends().len(), 1);
    let problems = load(
        [("b.yaml", secret), ("a.yaml", backend), ("c.yaml", secret)],
        &environment,
    )
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "c.yaml:1: Secret default/key: stands already at b.yaml:1: take one of them out"
    );
}

#[test]
fn a_host_is_found_where_it_may_be_used() {
    let text = "
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: for-all, namespace: weir-system}
spec: {provider: {openai: {}}, auth: {passthrough: {}}, allowedNamespaces: {from: All}}
---
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: for-shop, namespace: shop}
spec: {provider: {anthropic: {}}, auth: {passthrough: {}}}
";
    let snapshot = load([("weir.yaml", text)], &environment).unwrap();
    let name = |namespace, host| {
        snapshot
            .backend(namespace, host)
            .map(|backend| backend.name.as_str())
    };
    assert_eq!(name("shop", "api.openai.com"), Some("for-all"));
    assert_eq!(name("elsewhere", "api.openai.com"), Some("for-all"));
    assert_eq!(name("shop", "api.anthropic.com"), Some("for-shop"));
    assert_eq!(name("elsewhere", "api.anthropic.com"), None);
    assert_eq!(name("shop", "example.com"), None);
    assert_eq!(
        snapshot.hosts().collect::<Vec<_>>(),
        ["api.anthropic.com", "api.openai.com"]
    );
}

#[test]
fn without_configuration_every_provider_is_known() {
    let snapshot = Snapshot::zero_configuration();
    for provider in weir_ai::Provider::ALL {
        for host in provider.hosts() {
            let backend = snapshot.backend("any", host).unwrap();
            assert_eq!(backend.provider, *provider);
            assert!(matches!(backend.auth, Auth::Passthrough));
        }
    }
}

#[test]
fn the_examples_are_good() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let any_variable = |_: &str| Some("sk-example".to_owned());
        let snapshot =
            load([(name.as_str(), text.as_str())], &any_variable).unwrap_or_else(|error| panic!("{error}"));
        assert!(!snapshot.backends().is_empty(), "{name}");
        // Without the variables that it names, an example says which one to set.
        if text.contains("${") {
            let problems = load([(name.as_str(), text.as_str())], &|_| None)
                .unwrap_err()
                .to_string();
            assert!(problems.contains("is not set"), "{problems}");
        }
        count += 1;
    }
    assert_eq!(count, 3);
}

/// The reference in docs/ is held to what the code does.
#[test]
fn the_reference_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        load([("configuration.md", block)], &environment).unwrap_or_else(|error| panic!("{error}"));
    }
    for provider in weir_ai::Provider::ALL {
        let hosts: Vec<String> = provider.hosts().iter().map(|host| format!("`{host}`")).collect();
        let row = format!("| `{}` | {} |", provider.field(), hosts.join(", "));
        assert!(text.contains(&row), "the reference has no row {row}");
    }
}
