//! The table of cases, through the controller's path: what `translate` says of a file, `translate_each` says of the same objects from the API server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Translation, translate_each, translate_what_can_be};
use crate::objects::{Objects, Sharing, parse_what_can_be};
use crate::types::{AIBackendSpec, AIPolicySpec};
use crate::{Auth, Problem, parse};

/// As the API server would give them: no places, the order they were written in as their age.
fn from_api(objects: Objects) -> Objects {
    let mut same = Objects::default();
    for (creation, located) in (0..).zip(objects.backends) {
        same.add_backend(&located.namespace, &located.name, creation, located.value);
    }
    for (creation, located) in (0..).zip(objects.policies) {
        same.add_policy(&located.namespace, &located.name, creation, located.value);
    }
    for located in objects.secrets {
        same.add_secret(&located.namespace, &located.name, located.value);
    }
    for located in objects.config_maps {
        same.add_config_map(&located.namespace, &located.name, located.value);
    }
    same
}

/// What is told but for where it stands in a file.
fn told<'a>(problems: impl Iterator<Item = &'a Problem>) -> BTreeSet<String> {
    let each = problems.map(|problem| {
        let text = problem.without_place().replace("stringData.", "data.");
        match (text.find(" (weir.yaml:"), text.find("), and")) {
            (Some(from), Some(to)) => format!("{}, which is older{}", &text[..from], &text[to + 1..]),
            _ => text,
        }
    });
    each.collect()
}

fn problems(translation: &Translation) -> impl Iterator<Item = &Problem> {
    let outcomes = translation.outcomes.values();
    outcomes.flat_map(|outcome| {
        let results = [&outcome.accepted, &outcome.resolved_refs];
        results
            .into_iter()
            .filter_map(|result| result.as_ref().err())
            .flatten()
    })
}

#[test]
fn the_table_of_cases_holds_for_objects_of_the_api_server() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let environment = |_: &str| Some("sk-of-the-environment".to_owned());
        let (objects, unreadable) = parse_what_can_be("weir.yaml", &text, &environment);
        // What no API server would have: unknown fields, wrong types, one object twice.
        if !unreadable.0.is_empty() || text.contains("stands already at") {
            continue;
        }
        let (snapshot, wrong) = translate_what_can_be(&objects);
        let each = translate_each(&from_api(objects));
        let path = path.display();
        assert_eq!(told(problems(&each)), told(wrong.iter()), "{path}");
        assert_eq!(
            format!("{:?} {:?}", each.snapshot.backends(), each.snapshot.policies())
                .replace("stringData.", "data."),
            format!("{:?} {:?}", snapshot.backends(), snapshot.policies()).replace("stringData.", "data."),
            "{path}"
        );
        match wrong.0.is_empty() {
            true => good += 1,
            false => bad += 1,
        }
    }
    assert!(good > 6 && bad > 5, "cases are missing: {good} good, {bad} bad");
}

fn backend(text: &str) -> AIBackendSpec {
    serde_json::from_str(text).unwrap()
}

fn policy(text: &str) -> AIPolicySpec {
    serde_json::from_str(text).unwrap()
}

const OPENAI: &str =
    r#"{"provider": {"openai": {}}, "auth": {"passthrough": {}}, "allowedNamespaces": {"from": "All"}}"#;

#[test]
fn the_older_backend_has_the_host_whatever_the_order() {
    for creations in [[1, 2, 3], [3, 2, 1], [2, 2, 2]] {
        let mut objects = Objects::default();
        for (name, creation) in ["c", "b", "a"].into_iter().zip(creations) {
            objects.add_backend("default", name, creation, backend(OPENAI));
        }
        let oldest = if creations[0] == 1 { "c" } else { "a" };
        let translation = translate_each(&objects);
        let served: Vec<&str> = translation
            .snapshot
            .backends()
            .iter()
            .map(|backend| backend.name.as_str())
            .collect();
        assert_eq!(served, [oldest]);
        for (name, outcome) in &translation.outcomes {
            match &outcome.accepted {
                Ok(()) => assert_eq!(name.name, oldest),
                Err(problems) => assert_eq!(
                    problems[0].in_status_of(&name.to_string()),
                    format!(
                        "spec.hosts: `api.openai.com` is answered for already by AIBackend default/{oldest}, which is older, and both are of one namespace: take the host out of one of them"
                    )
                ),
            }
        }
    }
}

#[test]
fn what_is_wrong_with_one_object_keeps_only_that_one_out() {
    let mut objects = Objects::default();
    let with_secret = OPENAI.replace(r#"{"passthrough": {}}"#, r#"{"secretRef": {"name": "key"}}"#);
    objects.add_backend("default", "without-secret", 1, backend(&with_secret));
    let two = OPENAI.replace(r#""openai": {}"#, r#""openai": {}, "groq": {}"#);
    objects.add_backend("default", "two-providers", 2, backend(&two));
    let translation = translate_each(&objects);
    let [served] = translation.snapshot.backends() else {
        panic!("{:?}", translation.snapshot);
    };
    let Auth::Unresolved(why) = &served.auth else {
        panic!("{:?}", served.auth);
    };
    assert_eq!(
        why,
        "AIBackend default/without-secret: spec.auth.secretRef.name: there is no Secret default/key: add it there, in the backend's own namespace, or name one that there is"
    );
    let outcome = |wanted: &str| {
        let mut outcomes = translation.outcomes.iter();
        outcomes.find(|(name, _)| name.name == wanted).unwrap().1
    };
    assert!(outcome("without-secret").accepted.is_ok() && outcome("without-secret").resolved_refs.is_err());
    assert!(outcome("two-providers").accepted.is_err() && outcome("two-providers").resolved_refs.is_ok());
}

/// Whoever writes the backend can't mend it by adding what may be there already.
#[test]
fn a_secret_that_may_not_be_read_is_not_said_to_be_missing() {
    let mut objects = Objects::default();
    let with_secret = OPENAI.replace(r#"{"passthrough": {}}"#, r#"{"secretRef": {"name": "key"}}"#);
    objects.add_backend("shop", "openai", 1, backend(&with_secret));
    objects.add_forbidden("Secret", "shop", "key");
    let translation = translate_each(&objects);
    let (name, outcome) = translation.outcomes.iter().next().unwrap();
    let problems = outcome.resolved_refs.as_ref().unwrap_err();
    assert_eq!(
        problems[0].in_status_of(&name.to_string()),
        "spec.auth.secretRef.name: Secret shop/key may not be read: the chart's `controller.secretNamespaces` names the namespaces whose Secrets and ConfigMaps Weir's controller may read, so have `shop` added there"
    );
}

/// Nor is one that the API server can't decrypt; and the other backends stand.
#[test]
fn a_secret_that_cannot_be_read_is_said_to_be_so_of_its_backend_alone() {
    let mut objects = Objects::default();
    let with_secret = OPENAI.replace(r#"{"passthrough": {}}"#, r#"{"secretRef": {"name": "key"}}"#);
    objects.add_backend("shop", "openai", 1, backend(&with_secret));
    objects.add_backend("till", "openai", 1, backend(OPENAI));
    objects.add_unanswered("Secret", "shop", "key", "unable to transform key".to_owned());
    let translation = translate_each(&objects);
    let resolved = |namespace: &str| {
        let mut outcomes = translation.outcomes.iter();
        let (_, outcome) = outcomes.find(|(name, _)| name.namespace == namespace).unwrap();
        outcome.resolved_refs.as_ref()
    };
    assert!(resolved("till").is_ok());
    let message = resolved("shop").unwrap_err()[0].in_status_of("AIBackend shop/openai");
    assert_eq!(
        message,
        "spec.auth.secretRef.name: Secret shop/key can't be read: the API server says `unable to transform key`; it is asked again"
    );
}

/// A namespace that may not answer for others takes no host from one that may.
#[test]
fn backends_for_all_are_those_of_sharing_namespaces() {
    let mut objects = Objects::shared_by(Sharing::Only(["platform".to_owned()].into()));
    objects.add_backend("shop", "openai", 1, backend(OPENAI));
    objects.add_backend("platform", "openai", 2, backend(OPENAI));
    let translation = translate_each(&objects);
    let [served] = translation.snapshot.backends() else {
        panic!("{:?}", translation.snapshot);
    };
    assert_eq!(served.namespace, "platform");
    let refused = translation
        .outcomes
        .iter()
        .find_map(|(name, outcome)| Some((name.to_string(), outcome.accepted.as_ref().err()?)));
    let (name, problems) = refused.unwrap();
    assert_eq!(
        problems[0].in_status_of(&name),
        "spec.allowedNamespaces.from: is `All`, but namespace shop may not answer for others: write `Same`, or have it added to the chart's `controller.sharingNamespaces`"
    );
}

/// Nobody gets a model because the policy that denies it has a slip elsewhere.
#[test]
fn a_restriction_that_cannot_be_read_denies() {
    let mut objects = Objects::default();
    objects.add_backend("default", "openai", 1, backend(OPENAI));
    let spec =
        r#"{"targetRefs": [{"kind": "AIBackend", "name": "openai"}], "models": {"denied": ["gpt 4o"]}}"#;
    objects.add_policy("default", "bad", 1, policy(spec));
    let spec = r#"{"targetRefs": [{"kind": "AIBackend", "name": "openai"}], "timeouts": {"idle": "never"}}"#;
    objects.add_policy("default", "no-restriction", 1, policy(spec));
    let translation = translate_each(&objects);
    let [backend] = translation.snapshot.backends() else {
        panic!("{translation:?}");
    };
    let [bad] = &backend.policies[..] else {
        panic!("{:?}", backend.policies);
    };
    assert_eq!(bad.name, "bad");
    assert!(bad.denied_models[0].matches("anything"));
    assert!(
        translation
            .outcomes
            .values()
            .filter(|outcome| outcome.accepted.is_err())
            .count()
            == 2
    );
}

#[test]
fn what_a_backend_refers_to_is_told_once() {
    let text = "apiVersion: weir.dev/v1alpha1\nkind: AIBackend\nmetadata: {name: a}\nspec:\n  provider: {openai: {}}\n  auth: {secretRef: {name: b}}\n  \
                endpoint: {host: a.example, tls: {caCertificateRefs: [{kind: ConfigMap, name: c}, {kind: ConfigMap, name: c}]}}\n";
    let objects = parse("weir.yaml", text, &|_| None).unwrap();
    let references = crate::references(&objects.backends[0].value);
    let references: Vec<String> = references
        .iter()
        .map(|reference| format!("{} {}", reference.kind, reference.name))
        .collect();
    assert_eq!(references, ["ConfigMap c", "Secret b"]);
}
