//! What holds for every text.
#![allow(clippy::unwrap_used)] // in a test it is an assertion

use proptest::prelude::*;
use weir_api::{Problems, load};

fn load_one(text: &str) -> Result<weir_api::Snapshot, Problems> {
    load([("weir.yaml", text)], &|_| {
        Some("sk-of-the-environment".to_owned())
    })
}

const GOOD: &str = "\
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata:
  name: openai
spec:
  provider:
    openai: {}
  hosts:
  - api.openai.com
  auth:
    secretRef:
      name: key
  allowedNamespaces:
    from: All
  endpoint:
    host: llm-proxy.internal
    port: 8443
    tls:
      mode: Verify
---
apiVersion: v1
kind: Secret
metadata:
  name: key
stringData:
  apiKey: ${KEY}
";

/// Pieces that YAML and our objects are made of, so that random texts get somewhere.
fn fragment() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "apiVersion: ",
        "kind: ",
        "AIBackend",
        "Secret",
        "ConfigMap",
        "v1",
        "metadata: ",
        "{name: a}",
        "spec:",
        "data:",
        "stringData: ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        ": ",
        "? ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "|",
        ">-",
        "'",
        "\"",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "${",
        "${A}",
        "$${",
        "\t",
        "\r\n",
        "\0",
        "\u{feff}",
        "\u{85}",
        "~",
        "<<: ",
        "é",
        "1e9",
        "0x1",
    ];
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = load_one(&text);
    }

    #[test]
    fn arbitrary_yaml_never_panics(fragments in proptest::collection::vec(fragment(), 0..60)) {
        let _ = load_one(&fragments.concat());
    }

    /// A file that is cut off, or in which a piece is replaced, is taken or refused with problems that each name a line of it.
    #[test]
    fn damage_never_panics_and_problems_name_lines(from in 0..GOOD.len(), length in 0..20usize, insert in fragment()) {
        let to = (from + length).min(GOOD.len());
        let text = format!("{}{insert}{}", &GOOD[..from], &GOOD[to..]);
        if let Err(problems) = load_one(&text) {
            // The parser counts a line more where the text ends in the middle of something.
            let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
            for problem in problems.iter() {
                prop_assert!(problem.line <= lines, "{problem}");
                prop_assert!(!problem.message.is_empty());
            }
        }
    }

    /// An unknown field anywhere is told with its own line, and alone.
    #[test]
    fn an_unknown_field_is_told_with_its_line(at in 0..GOOD.lines().count(), name in "zz[a-z]{0,12}") {
        let lines: Vec<&str> = GOOD.lines().collect();
        let line = lines[at];
        // Only where a field stands, so that the new one is its neighbour; and not where any name is a key of one's own.
        prop_assume!(!line.starts_with("---") && !line.contains("- ") && !line.contains("${"));
        let indent = &line[..line.len() - line.trim_start().len()];
        let field = format!("{indent}{name}: 1");
        let mut changed = lines.clone();
        changed.insert(at, &field);
        let problems = load_one(&(changed.join("\n") + "\n")).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.line, problem.field.ends_with(&name))).collect();
        prop_assert_eq!(found, [(at + 1, true)], "{}", problems);
    }
}

#[test]
fn the_undamaged_file_is_good() {
    load_one(GOOD).unwrap();
}

#[test]
fn nesting_and_aliases_are_bounded() {
    let error = load_one(&format!("{}{}", "[".repeat(33), "]".repeat(33)))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "weir.yaml:1: nested more than 32 levels deep");
    for opening in ["[", "{a: ", "- ", "? "] {
        load_one(&opening.repeat(100_000)).unwrap_err();
    }
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let error = load_one(&laughs).unwrap_err().to_string();
    assert!(error.contains("more than 100000 values"), "{error}");
}
