//! Where keys are, and where they never are.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use weir_tests::world::{KEY, World};

use super::ASK;

#[test]
fn the_programs_environment_holds_no_key() {
    let world = World::new();
    let finished = world.weir().run(&["env"]).assert_exit(0);
    assert!(!finished.stdout.contains(KEY), "{}", finished.stdout);
    for variable in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "JAVA_TOOL_OPTIONS",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
    ] {
        assert!(
            finished.stdout.contains(&format!("\n{variable}=")) || finished.stdout.starts_with(variable),
            "{variable} in {}",
            finished.stdout
        );
    }
    // What the user has set stays.
    let finished = world
        .weir()
        .variable("OPENAI_API_KEY", "my-own")
        .run(&["sh", "-c", "echo $OPENAI_API_KEY"])
        .assert_exit(0);
    assert_eq!(finished.stdout, "my-own\n");
}

#[test]
fn a_placeholder_never_leaves() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&[
            "sh",
            "-c",
            &format!("{ASK} -H \"Authorization: Bearer $OPENAI_API_KEY\""),
        ])
        .assert_exit(0);
    finished
        .only_exchange()
        .assert(&json!({"http.response.status_code": 200}));
    let record = world.provider().all().pop().unwrap();
    let carried: Vec<_> = record
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .collect();
    assert_eq!(carried.len(), 1);
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
}

#[test]
fn the_private_key_of_the_local_root_is_its_owners_only() {
    let world = World::new();
    world.weir().run(&["true"]).assert_exit(0);
    let mut secret = 0;
    for entry in std::fs::read_dir(world.path("state")).unwrap().flatten() {
        let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if content.contains("PRIVATE KEY") {
            secret += 1;
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{}",
                entry.path().display()
            );
        }
    }
    assert_eq!(secret, 1);
}

/// The README's own file, with what it dials where it dials it.
#[test]
fn the_example_works_as_it_stands_and_its_key_stays_with_weir() {
    let world = World::new();
    let example = include_str!("../../../examples/openai.yaml");
    let finished = world
        .bare_weir()
        .configuration(example)
        .variable("OPENAI_API_KEY", KEY)
        .run(&["sh", "-c", &format!("echo $OPENAI_API_KEY; {ASK}")])
        .assert_exit(0);
    assert!(!finished.stdout.contains(KEY), "{}", finished.stdout);
    assert!(
        finished.stdout.starts_with("weir-placeholder"),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains("The mock heard: hi"),
        "{}",
        finished.stdout
    );
    finished
        .only_exchange()
        .assert(&json!({"weir.outcome": "completed", "weir.usage": "read"}));
}

/// Its calls are relayed, so a placeholder would reach the provider; and somebody has to say why nothing is put in.
#[test]
fn a_backend_of_another_namespace_gives_no_placeholder_and_is_told() {
    let world = World::new();
    let elsewhere = include_str!("../../../examples/openai.yaml")
        .replace("metadata:\n", "metadata:\n  namespace: platform\n");
    let finished = world
        .bare_weir()
        .configuration(&elsewhere)
        .variable("OPENAI_API_KEY", KEY)
        .run(&["sh", "-c", "echo \"<$OPENAI_API_KEY>\""])
        .assert_exit(0);
    assert_eq!(finished.stdout, "<>\n");
    assert!(
        finished.stderr.contains("platform/openai") && finished.stderr.contains("allowedNamespaces"),
        "{}",
        finished.stderr
    );
}
