use std::sync::Arc;

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, proptest};
use weir_api::proto::resource::Body;
use weir_api::resource::{kind_of, resource};

use super::*;

fn workload(uid: &str, pod: &str) -> (Key, Arc<proto::Resource>) {
    let body = Body::Workload(proto::Workload {
        uid: uid.to_owned(),
        pod: pod.to_owned(),
        ..proto::Workload::default()
    });
    let key = Key::new(proto::Kind::Workload, uid);
    (key, Arc::new(resource(uid, body)))
}

/// What an agent holds that held `held`, once it has taken `deltas`.
fn taken(mut held: Held, deltas: &[proto::Delta]) -> Held {
    for delta in deltas {
        for upsert in &delta.upserts {
            held.insert(Key::new(kind_of(upsert), &upsert.name), upsert.version.clone());
        }
        for removal in &delta.removals {
            held.remove(&Key {
                kind: removal.kind,
                name: removal.name.clone(),
            });
        }
    }
    held
}

#[test]
fn who_holds_all_is_told_that_this_is_all() {
    let wanted = Resources::from([workload("1", "a")]);
    let deltas = deltas(&versions(&wanted), &wanted);
    assert_eq!(
        deltas,
        [proto::Delta {
            snapshot_done: true,
            ..proto::Delta::default()
        }]
    );
}

#[test]
fn a_large_change_comes_in_messages_that_are_bounded() {
    let authorities = vec![b'a'; 700 * 1024];
    let backend = |number: usize| {
        let body = Body::Backend(proto::Backend {
            endpoint: Some(proto::Endpoint {
                tls: Some(proto::endpoint::Tls::Verify(proto::Verify {
                    authorities: authorities.clone(),
                    ..proto::Verify::default()
                })),
                ..proto::Endpoint::default()
            }),
            ..proto::Backend::default()
        });
        let name = format!("a/{number}");
        (
            Key::new(proto::Kind::Backend, &name),
            Arc::new(resource(name, body)),
        )
    };
    let wanted: Resources = (0..10).map(backend).collect();
    let deltas = deltas(&Held::new(), &wanted);
    assert!(deltas.len() >= 5);
    for delta in &deltas {
        assert!(delta.encoded_len() < 3 * 1024 * 1024, "{}", delta.encoded_len());
    }
    let done: Vec<bool> = deltas.iter().map(|delta| delta.snapshot_done).collect();
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    assert_eq!(done.last(), Some(&true));
    assert_eq!(taken(Held::new(), &deltas), versions(&wanted));
}

fn some_resources() -> impl Strategy<Value = Resources> {
    let one = (0..12_u8, prop::sample::select(vec!["a", "b", "c"]));
    prop::collection::vec(one, 0..12).prop_map(|all| {
        all.into_iter()
            .map(|(uid, pod)| workload(&uid.to_string(), pod))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_held_becomes_what_is_wanted(before in some_resources(), wanted in some_resources()) {
        let held = versions(&before);
        let deltas = deltas(&held, &wanted);
        prop_assert_eq!(taken(held.clone(), &deltas), versions(&wanted));
        for upsert in deltas.iter().flat_map(|delta| &delta.upserts) {
            let key = Key::new(kind_of(upsert), &upsert.name);
            prop_assert!(held.get(&key) != Some(&upsert.version), "what is held is not sent again");
        }
    }
}
