use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use secrecy::{ExposeSecret, SecretString};
use weir_ai::Provider;

use super::{credential, kind_of, policy_name, version_of};
use crate::policy::{Glob, Policy, Timeouts, WorkloadIdentity};
use crate::proto::{self, resource::Body};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls, Snapshot};
use crate::types::{Dial, OnUntrusted, Operation};

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

fn auth() -> impl Strategy<Value = Auth> {
    prop_oneof![
        Just(Auth::Passthrough),
        "[!-~]{1,40}".prop_map(|key| Auth::Key(SecretString::from(key))),
        "[a-z ]{1,40}".prop_map(Auth::Unresolved),
    ]
}

fn endpoint() -> impl Strategy<Value = BackendEndpoint> {
    let verify = (option::of(name()), option::of(vec(any::<u8>(), 1..40)));
    let tls = prop_oneof![
        Just(EndpointTls::Plaintext),
        verify.prop_map(|(server_name, authorities)| EndpointTls::Verify {
            server_name,
            authorities: authorities.map(Arc::from),
        }),
    ];
    let host = prop_oneof![name(), Just("fd00::1".to_owned())];
    let prefix = option::of(name().prop_map(|name| format!("/{name}")));
    (host, 1..u16::MAX, prefix, tls).prop_map(|(host, port, path_prefix, tls)| BackendEndpoint {
        host,
        port,
        path_prefix,
        tls,
    })
}

fn globs() -> impl Strategy<Value = Vec<Glob>> {
    vec("[a-z*.-]{1,8}".prop_map(|glob| Glob::new(&glob).unwrap()), 0..3)
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(select(&Operation::ALL[..]), 0..3)
}

fn limit() -> impl Strategy<Value = Option<Duration>> {
    option::of((1..u64::from(u32::MAX)).prop_map(Duration::from_millis))
}

fn policy() -> impl Strategy<Value = Policy> {
    let header = |name: String| HeaderName::try_from(format!("x-{name}")).unwrap();
    let set = (name(), "[!-~]{1,8}");
    let set = set.prop_map(move |(name, value)| (header(name), HeaderValue::try_from(value).unwrap()));
    let headers = (vec(set, 0..3), vec(name().prop_map(header), 0..3));
    let timeouts = (limit(), limit(), limit()).prop_map(|(connect, first_byte, idle)| Timeouts {
        connect,
        first_byte,
        idle,
    });
    let rules = (globs(), globs(), operations(), operations());
    (name(), rules, headers, timeouts).prop_map(|(name, rules, headers, timeouts)| Policy {
        namespace: "default".to_owned(),
        name,
        allowed_models: rules.0,
        denied_models: rules.1,
        allowed_operations: rules.2,
        denied_operations: rules.3,
        set_headers: headers.0,
        remove_headers: headers.1,
        timeouts,
        ..Policy::default()
    })
}

fn backend() -> impl Strategy<Value = Backend> {
    let allowed = prop_oneof![
        Just(AllowedNamespaces::All),
        btree_set(name(), 0..3).prop_map(AllowedNamespaces::Named),
    ];
    let dial = select(vec![Dial::Pod, Dial::Node]);
    let on_untrusted = select(vec![OnUntrusted::Relay, OnUntrusted::Refuse]);
    let whence = (
        select(Provider::ALL),
        vec(name(), 1..4),
        auth(),
        option::of(endpoint()),
    );
    (name(), name(), whence, allowed, dial, on_untrusted).prop_map(
        |(namespace, name, (provider, hosts, auth, endpoint), allowed_namespaces, dial, on_untrusted)| {
            Backend {
                name,
                namespace,
                provider,
                hosts,
                auth,
                endpoint,
                allowed_namespaces,
                dial,
                on_untrusted,
                policies: Vec::new(),
            }
        },
    )
}

/// All of a backend, its key included, which Debug does not show.
fn shown(backend: &Backend) -> String {
    let key = match &backend.auth {
        Auth::Key(key) => key.expose_secret(),
        _ => "",
    };
    format!("{backend:?} {key}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn what_is_sent_is_what_is_served(mut backend in backend(), policy in policy()) {
        let policy = Arc::new(policy);
        backend.policies.push(Arc::clone(&policy));
        let workload = proto::Workload {
            intercept: proto::Intercept::Enabled.into(),
            trusts: true,
            policies: vec![policy_name(&policy)],
            ..proto::Workload::default()
        };
        let sent = [super::backend(&backend), super::policy(&policy), super::resource("uid", Body::Workload(workload))];
        let sent: Vec<proto::Resource> = sent.into_iter().chain(credential(&backend)).collect();
        let mut received = Vec::new();
        for resource in &sent {
            let resource = proto::Resource::decode(&resource.encode_to_vec()[..]).unwrap();
            // An agent may hold the version that it was sent, or work it out.
            prop_assert_eq!(&resource.version, &version_of(resource.body.as_ref().unwrap()));
            received.push(resource);
        }
        let (snapshot, rejections) = Snapshot::from_resources(&received);
        prop_assert!(rejections.is_empty(), "{:?}", rejections);
        prop_assert_eq!(shown(&snapshot.backends()[0]), shown(&backend));
        prop_assert_eq!(&snapshot.policies()[0], &policy);
        let pod = WorkloadIdentity { uid: Some("uid".to_owned()), namespace: "default".to_owned(), ..WorkloadIdentity::default() };
        prop_assert_eq!(snapshot.targeting(&pod).count(), 1);
        let effective = snapshot.policy(&backend, &pod);
        prop_assert_eq!(effective.policies(), &[policy][..]);
    }
}

fn good() -> Backend {
    let mut good = Snapshot::zero_configuration().backends()[0].as_ref().clone();
    good.auth = Auth::Key(SecretString::from("sk-1"));
    good
}

#[test]
fn versions_tell_bodies_apart_and_not_names() {
    let one = super::backend(&good());
    assert_eq!(one.version.len(), 64);
    assert_eq!(one.version, super::backend(&good()).version);
    let mut other = good();
    other.dial = Dial::Node;
    assert_ne!(one.version, super::backend(&other).version);
    let body = one.body.clone().unwrap();
    assert_eq!(one.version, super::resource("another", body).version);
}

#[test]
fn what_an_agent_does_not_know_is_rejected_by_name_and_the_rest_is_served() {
    type Change = fn(&mut proto::Backend);
    let changes: [(&str, Change); 8] = [
        (
            "provider: this agent does not know `new`: upgrade the agent",
            |backend| backend.provider = "new".to_owned(),
        ),
        ("hosts: names none", |backend| backend.hosts.clear()),
        ("hosts: `A` has capital letters: write `a`", |backend| {
            backend.hosts = vec!["A".to_owned()]
        }),
        ("auth: none that this agent knows: upgrade the agent", |backend| {
            backend.auth = None
        }),
        ("dial: this agent does not know 9: upgrade the agent", |backend| {
            backend.dial = 9
        }),
        (
            "on_untrusted: this agent does not know 0: upgrade the agent",
            |backend| backend.on_untrusted = 0,
        ),
        ("policies: a/b was not sent, or is rejected itself", |backend| {
            backend.policies = vec!["a/b".to_owned()]
        }),
        ("is named so, but says that it is default/other", |backend| {
            backend.name = "other".to_owned()
        }),
    ];
    let mut second = good();
    second.name = "second".to_owned();
    let second = [super::backend(&second), credential(&second).unwrap()];
    for (message, change) in changes {
        let mut sent = super::backend(&good());
        if let Some(Body::Backend(backend)) = &mut sent.body {
            change(backend);
        }
        let (snapshot, rejections) = Snapshot::from_resources([&sent, &second[0], &second[1]]);
        let found: Vec<_> = rejections
            .iter()
            .map(|rejection| {
                (
                    rejection.kind(),
                    rejection.name.as_str(),
                    rejection.message.as_str(),
                )
            })
            .collect();
        assert_eq!(found, [(proto::Kind::Backend, "default/openai", message)]);
        assert_eq!(snapshot.backends().len(), 1);
        assert_eq!(snapshot.backends()[0].name, "second");
    }
    let nothing = proto::Resource {
        name: "a".to_owned(),
        ..proto::Resource::default()
    };
    assert_eq!(kind_of(&nothing), proto::Kind::Unspecified);
    assert_eq!(Snapshot::from_resources([&nothing]).1.len(), 1);
}

/// The traffic of a backend whose key is missing is answered with why, not passed by.
#[test]
fn a_backend_without_its_credential_is_served_without_a_key() {
    let (snapshot, rejections) = Snapshot::from_resources([&super::backend(&good())]);
    assert!(rejections.is_empty());
    assert!(matches!(&snapshot.backends()[0].auth, Auth::Unresolved(why) if why.contains("default/openai")));
}

#[test]
fn what_answers_for_a_host_is_known_where_no_backend_is_sent() {
    let coverage = proto::Coverage {
        hosts: vec!["api.openai.com".to_owned()],
    };
    let sent = [super::resource("shop", Body::Coverage(coverage))];
    let (snapshot, rejections) = Snapshot::from_resources(&sent);
    assert_eq!(rejections, []);
    assert!(snapshot.covers("shop", "api.openai.com"));
    assert!(!snapshot.covers("shop", "api.cohere.com") && !snapshot.covers("other", "api.openai.com"));
    assert!(snapshot.backend("shop", "api.openai.com").is_none());
    assert_eq!(snapshot.covered("shop").collect::<Vec<_>>(), ["api.openai.com"]);
}
