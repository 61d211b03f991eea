//! Configuration: errors that say where and what, and changes while it runs.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use weir_tests::world::run::Running;
use weir_tests::world::{KEY, World, configuration};

const ASK: &str = "curl -sS -o /dev/null -w 'status %{http_code}\\n' https://api.openai.com/v1/models";

fn refused(text: &str, wanted: &[&str]) {
    let world = World::new();
    let finished = world
        .bare_weir()
        .configuration(text)
        .run(&["echo", "it ran"])
        .assert_exit(125);
    assert_eq!(finished.stdout, "", "the command must not run");
    for word in wanted {
        assert!(finished.stderr.contains(word), "{word:?} in {}", finished.stderr);
    }
}

const BACKEND: &str = "apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: openai}
spec:
  provider: {openai: {}}
  auth: {passthrough: {}}
";

#[test]
fn an_unknown_field_is_named_with_file_line_and_the_nearest() {
    refused(
        &format!("{BACKEND}  hots: [api.openai.com]\n"),
        &[".yaml:7", "hots", "hosts"],
    );
}

#[test]
fn an_unknown_kind_is_named_with_the_nearest() {
    refused(
        &BACKEND.replace("AIBackend", "AIBackened"),
        &[".yaml:2", "AIBackened", "`AIBackend`"],
    );
}

#[test]
fn yaml_that_is_none_is_named_with_its_line() {
    refused(&format!("{BACKEND}  auth: {{unclosed\n"), &[".yaml:"]);
}

#[test]
fn two_backends_for_one_host_contradict() {
    let second = BACKEND.replace("name: openai", "name: second");
    refused(&format!("{BACKEND}---\n{second}"), &["api.openai.com", "second"]);
}

#[test]
fn an_unset_variable_is_named() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: openai-secret}\nstringData: {apiKey: \"${WEIR_TEST_UNSET}\"}\n";
    refused(secret, &[".yaml:4", "WEIR_TEST_UNSET"]);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let world = World::new();
    let finished = world
        .bare_weir()
        .option("-f")
        .option("/nowhere/weir.yaml")
        .run(&["true"])
        .assert_exit(125);
    assert!(
        finished.stderr.contains("/nowhere/weir.yaml"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_variable_fills_in_a_secret() {
    let world = World::new();
    let text = configuration::standard(&world).replace(KEY, "${PROVIDER_KEY}");
    let run = world
        .bare_weir()
        .configuration(&text)
        .variable("PROVIDER_KEY", KEY);
    assert_eq!(run.run(&["sh", "-c", ASK]).assert_exit(0).stdout, "status 200\n");
}

#[test]
fn several_files_are_one_configuration() {
    let world = World::new();
    let authority = world.write("authority.yaml", configuration::authority(&world));
    let text = configuration::backend("openai", "apiKey", KEY);
    let run = world
        .bare_weir()
        .configuration(&text)
        .option("-f")
        .option(authority.to_str().unwrap());
    assert_eq!(run.run(&["sh", "-c", ASK]).assert_exit(0).stdout, "status 200\n");
}

/// Asks and waits for the status; each answer is counted, so that the next is waited for.
fn ask(running: &mut Running<'_>, number: usize) -> String {
    running.write_line(&format!("{ASK}; echo answer {number}"));
    let output = running.wait_for_stdout(&format!("answer {number}\n"));
    output.lines().rev().nth(1).unwrap().to_owned()
}

#[test]
fn a_rotated_secret_is_used_by_the_next_request() {
    let world = World::new();
    let wrong = configuration::standard(&world).replace(KEY, "sk-old");
    let run = world.bare_weir().configuration(&wrong);
    let path = run.configuration_path();
    let mut running = run.spawn(&["sh"]);
    assert_eq!(ask(&mut running, 1), "status 401");
    // As editors and Kubernetes do it: a new file takes the old one's place.
    let next = world.write("next.yaml", configuration::standard(&world));
    std::fs::rename(next, path).unwrap();
    running.wait_for_stderr("configuration taken");
    assert_eq!(ask(&mut running, 2), "status 200");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn a_bad_change_is_refused_whole_and_the_last_good_stays() {
    let world = World::new();
    let run = world.weir();
    let path = run.configuration_path();
    let mut running = run.spawn(&["sh"]);
    assert_eq!(ask(&mut running, 1), "status 200");
    let bad = configuration::standard(&world)
        .replace("auth:", "oauth:")
        .replace(KEY, "sk-other");
    std::fs::write(&path, bad).unwrap();
    let said = running.wait_for_stderr("oauth");
    assert!(said.contains(".yaml:"), "{said}");
    assert_eq!(ask(&mut running, 2), "status 200");
    std::fs::write(&path, configuration::standard(&world).replace(KEY, "sk-other")).unwrap();
    running.wait_for_stderr("configuration taken");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn a_change_cuts_no_stream() {
    let world = World::new();
    let run = world.weir();
    let path = run.configuration_path();
    let url = "https://api.openai.com/v1/mock/echo";
    let mut running = run.spawn(&[
        "curl",
        "-sSN",
        "--http1.1",
        "-H",
        "Expect:",
        "-T",
        ".",
        "-X",
        "POST",
        url,
    ]);
    running.write_line("before the change");
    running.wait_for_stdout("before the change");
    std::fs::write(path, configuration::standard(&world).replace(KEY, "sk-other")).unwrap();
    running.wait_for_stderr("configuration taken");
    running.write_line("after the change");
    running.wait_for_stdout("after the change");
    running.finish().assert_exit(0);
}
