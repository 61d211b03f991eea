use std::collections::BTreeMap;

use weir_ai::Endpoint;

use super::WorkloadIdentity;
use crate::types::FailurePolicy;
use crate::{Backend, Snapshot, load};

const OBJECTS: &str = "
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: openai, namespace: platform}
spec: {provider: {openai: {}}, auth: {passthrough: {}}, allowedNamespaces: {from: All}}
---
apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {name: groq, namespace: platform}
spec: {provider: {groq: {}}, auth: {passthrough: {}}, allowedNamespaces: {from: All}}
---
apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: uses, namespace: shop}
spec:
  targetRefs: [{kind: AIBackend, name: openai, namespace: platform}]
  models: {allowed: ['gpt-4o*']}
  headers: {set: [{name: x-team, value: shop}, {name: x-shop, value: yes}], remove: [x-owner]}
  timeouts: {connect: 1s, idle: 1m}
---
apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: checkout, namespace: shop}
spec:
  targetRefs: [{kind: Workload, serviceAccount: checkout, labels: {tier: front}}]
  operations: {allowed: [chat]}
  timeouts: {firstByte: 9s}
  failurePolicy: Closed
---
apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: all-users, namespace: platform}
spec:
  targetRefs: [{kind: AIBackend, name: openai}]
  models: {denied: ['*-preview']}
  headers: {set: [{name: x-owner, value: platform}], remove: [x-team]}
  timeouts: {connect: 5s}
---
apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: shop-users, namespace: platform}
spec:
  targetRefs: [{kind: Workload, namespace: shop}]
  operations: {denied: [embeddings]}
";

fn snapshot() -> Snapshot {
    load([("weir.yaml", OBJECTS)], &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

fn workload(namespace: &str, service_account: &str, labels: &[(&str, &str)]) -> WorkloadIdentity {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    WorkloadIdentity {
        uid: None,
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        labels: labels.collect::<BTreeMap<_, _>>(),
    }
}

fn backend<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Backend {
    let mut backends = snapshot.backends().iter();
    backends
        .find(|backend| backend.name == name)
        .expect("one of the above")
}

#[test]
fn policies_bind_what_is_theirs_or_uses_what_is_theirs() {
    let snapshot = snapshot();
    let front = [("tier", "front"), ("app", "checkout")];
    for (caller, used, policies) in [
        (
            workload("elsewhere", "default", &[]),
            "openai",
            &["all-users"][..],
        ),
        (workload("elsewhere", "checkout", &front), "groq", &[]),
        (
            workload("shop", "default", &[]),
            "openai",
            &["all-users", "shop-users", "uses"],
        ),
        (
            workload("shop", "checkout", &[("tier", "back")]),
            "groq",
            &["shop-users"],
        ),
        (
            workload("shop", "checkout", &front),
            "groq",
            &["shop-users", "checkout"],
        ),
        (
            workload("shop", "checkout", &front),
            "openai",
            &["all-users", "shop-users", "uses", "checkout"],
        ),
    ] {
        let effective = snapshot.policy(backend(&snapshot, used), &caller);
        let names: Vec<&str> = effective
            .policies()
            .iter()
            .map(|policy| policy.name.as_str())
            .collect();
        assert_eq!(names, policies, "{caller:?} {used}");
    }
    // A policy of one namespace that targets workloads of another says nothing of what they do elsewhere.
    let mut foreign = backend(&snapshot, "groq").clone();
    foreign.namespace = "third".to_owned();
    assert!(
        snapshot
            .policy(&foreign, &workload("shop", "default", &[]))
            .policies()
            .is_empty()
    );
}

#[test]
fn every_policy_has_to_permit() {
    let snapshot = snapshot();
    let shop = snapshot.policy(backend(&snapshot, "openai"), &workload("shop", "default", &[]));
    assert!(shop.restricts_models());
    let chat = Endpoint::ChatCompletions;
    assert!(shop.permits_model(chat, Some("gpt-4o-mini")).is_ok());
    assert!(shop.permits_model(Endpoint::Models, None).is_ok());
    for (endpoint, model, denial) in [
        (
            chat,
            Some("GPT-4O-Preview"),
            "the model `GPT-4O-Preview` is denied (AIPolicy platform/all-users)",
        ),
        (chat, Some("o3"), "the model `o3` is denied (AIPolicy shop/uses)"),
        (
            chat,
            None,
            "the request names no model that could be read, or several, and models are restricted (AIPolicy platform/all-users)",
        ),
        (
            Endpoint::Other,
            None,
            "the request names no model that could be read, or several, and models are restricted (AIPolicy platform/all-users)",
        ),
    ] {
        assert_eq!(
            shop.permits_model(endpoint, model).unwrap_err().to_string(),
            denial
        );
    }
    assert!(shop.permits_operation(chat).is_ok() && shop.permits_operation(Endpoint::Other).is_ok());
    assert_eq!(
        shop.permits_operation(Endpoint::Embeddings)
            .unwrap_err()
            .to_string(),
        "the operation `embeddings` is denied (AIPolicy platform/shop-users)"
    );
    let checkout = workload("shop", "checkout", &[("tier", "front")]);
    let checkout = snapshot.policy(backend(&snapshot, "groq"), &checkout);
    assert!(!checkout.restricts_models() && checkout.permits_model(Endpoint::Other, None).is_ok());
    for endpoint in [chat, Endpoint::Responses, Endpoint::Models, Endpoint::CountTokens] {
        assert!(checkout.permits_operation(endpoint).is_ok(), "{endpoint:?}");
    }
    assert_eq!(
        checkout
            .permits_operation(Endpoint::Other)
            .unwrap_err()
            .to_string(),
        "the request is no operation that is known, and operations are restricted (AIPolicy shop/checkout)"
    );
}

/// The backend's owner before its users, and of two the older, whose key and bill it is.
#[test]
fn headers_and_timeouts_come_from_the_first_that_says_something() {
    let snapshot = snapshot();
    let shop = snapshot.policy(
        backend(&snapshot, "openai"),
        &workload("shop", "checkout", &[("tier", "front")]),
    );
    let set: Vec<String> = shop
        .set_headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
        .collect();
    assert_eq!(set, ["x-owner: platform", "x-shop: yes"]);
    assert_eq!(shop.remove_headers(), ["x-team"]);
    let timeouts = shop.timeouts();
    let seconds = [timeouts.connect, timeouts.first_byte, timeouts.idle]
        .map(|limit| limit.map(|limit| limit.as_secs()));
    assert_eq!(seconds, [Some(5), Some(9), Some(60)]);
}

#[test]
fn only_its_own_namespace_says_what_becomes_of_a_workload_without_an_agent() {
    let snapshot = snapshot();
    let front = [("tier", "front")];
    assert_eq!(
        snapshot.failure_policy(&workload("shop", "checkout", &front)),
        Some(FailurePolicy::Closed)
    );
    assert_eq!(
        snapshot.failure_policy(&workload("shop", "default", &front)),
        None
    );
    assert_eq!(
        snapshot.failure_policy(&workload("elsewhere", "checkout", &front)),
        None
    );
}

/// Where nothing is restricted, nothing is put together.
#[test]
fn no_policy_is_one_and_the_same() {
    let snapshot = Snapshot::zero_configuration();
    let caller = workload("default", "default", &[]);
    let [one, other, ..] = snapshot.backends() else {
        panic!("{snapshot:?}");
    };
    assert!(std::sync::Arc::ptr_eq(
        &snapshot.policy(one, &caller),
        &snapshot.policy(other, &caller)
    ));
}
