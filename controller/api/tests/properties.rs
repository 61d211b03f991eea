//! What holds for every text.
#![allow(clippy::unwrap_used)] // in a test it is an assertion

use proptest::prelude::*;
use weir_api::{Objects, Problems, Translation, load, translate_each};

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

/// A backend, of which there may be others for its hosts.
#[derive(Debug, Clone)]
struct Given {
    namespace: &'static str,
    for_all: bool,
    hosts: Vec<&'static str>,
    creation: i64,
}

impl Given {
    /// Whether some namespace would not know which of the two to take.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let same_callers = self.namespace == other.namespace || (self.for_all && other.for_all);
        same_callers && self.hosts.iter().any(|host| other.hosts.contains(host))
    }
}

const NAMESPACES: [&str; 4] = ["bank", "platform", "shop", "system"];
const HOSTS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

fn given() -> impl Strategy<Value = Given> {
    let namespace = proptest::sample::select(&NAMESPACES);
    let hosts = proptest::sample::subsequence(&HOSTS, 1..=2);
    (namespace, any::<bool>(), hosts, 1..4i64).prop_map(|(namespace, for_all, hosts, creation)| Given {
        namespace,
        for_all,
        hosts,
        creation,
    })
}

fn translated(all: &[Given]) -> Translation {
    let mut objects = Objects::default();
    for (index, given) in all.iter().enumerate() {
        let from = if given.for_all { "All" } else { "Same" };
        let spec = serde_json::json!({
            "provider": {"openai": {}},
            "auth": {"passthrough": {}},
            "hosts": given.hosts,
            "allowedNamespaces": {"from": from},
        });
        let spec = serde_json::from_value(spec).unwrap();
        objects.add_backend(given.namespace, &format!("b{index:02}"), given.creation, spec);
    }
    translate_each(&objects)
}

/// Who answers to that namespace for that host, as an index.
fn answering(translation: &Translation, namespace: &str, host: &str) -> Option<usize> {
    let backend = translation.snapshot.backend(namespace, host)?;
    backend.name[1..].parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Accepted are those alone that no older accepted one is in the way of, and each namespace is answered by its own one of these, or else by the one for all.
    #[test]
    fn the_older_has_a_host_and_its_own_go_before_those_for_all(all in proptest::collection::vec(given(), 0..12)) {
        let translation = translated(&all);
        let mut by_age: Vec<usize> = (0..all.len()).collect();
        by_age.sort_by_key(|&index| (all[index].creation, all[index].namespace, index));
        let mut accepted: Vec<usize> = Vec::new();
        for index in by_age {
            if !accepted.iter().any(|&older| all[older].is_in_the_way_of(&all[index])) {
                accepted.push(index);
            }
        }
        for (name, outcome) in &translation.outcomes {
            let index: usize = name.name[1..].parse().unwrap();
            prop_assert_eq!(outcome.accepted.is_ok(), accepted.contains(&index), "{} {:?}", name, outcome);
        }
        for namespace in NAMESPACES {
            for host in HOSTS {
                let find = |is_it: &dyn Fn(&Given) -> bool| {
                    let mut found = accepted.iter().copied();
                    found.find(|&index| all[index].hosts.contains(&host) && is_it(&all[index]))
                };
                let own = find(&|given| given.namespace == namespace);
                let wanted = own.or_else(|| find(&|given| given.for_all));
                prop_assert_eq!(answering(&translation, namespace, host), wanted);
            }
        }
    }

    /// What a namespace keeps to itself, however old, changes nothing for anybody else.
    #[test]
    fn a_namespace_decides_for_itself_alone(
        mut all in proptest::collection::vec(given(), 0..8),
        mut intruders in proptest::collection::vec(given(), 1..4),
    ) {
        let before = translated(&all);
        for intruder in &mut intruders {
            (intruder.namespace, intruder.for_all, intruder.creation) = ("intruder", false, 0);
        }
        all.extend(intruders);
        let after = translated(&all);
        for (name, outcome) in &before.outcomes {
            prop_assert_eq!(outcome, &after.outcomes[name]);
        }
        for namespace in NAMESPACES {
            for host in HOSTS {
                prop_assert_eq!(answering(&before, namespace, host), answering(&after, namespace, host));
            }
        }
    }
}
