//! The way from what an agent holds to what it is to hold, in messages of bounded size.

use std::collections::BTreeMap;

use prost::Message;
use weir_api::proto;

use super::assemble::{Key, Resources};

/// Versions of what an agent holds.
pub type Held = BTreeMap<Key, String>;

/// A message is closed when it has grown beyond this. With the largest resource there can be (authorities out of a ConfigMap, 1 MiB)
/// it stays below the 4 MiB that gRPC takes by default.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The deltas from `held` to `wanted`, without nonces. There is always one, for the last says that it is; none but the last does.
pub fn deltas(held: &Held, wanted: &Resources) -> Vec<proto::Delta> {
    let mut deltas = vec![];
    let mut open = proto::Delta::default();
    let mut size = 0;
    let mut close_if_full = |open: &mut proto::Delta, size: &mut usize| {
        if *size >= MESSAGE_BYTES {
            deltas.push(std::mem::take(open));
            *size = 0;
        }
    };
    for (key, resource) in wanted {
        if held.get(key) != Some(&resource.version) {
            close_if_full(&mut open, &mut size);
            size += resource.encoded_len();
            open.upserts.push(resource.as_ref().clone());
        }
    }
    for key in held.keys().filter(|key| !wanted.contains_key(*key)) {
        close_if_full(&mut open, &mut size);
        let removal = proto::ResourceName {
            kind: key.kind,
            name: key.name.clone(),
        };
        size += removal.encoded_len();
        open.removals.push(removal);
    }
    open.snapshot_done = true;
    deltas.push(open);
    deltas
}

/// The versions of `resources`: what is held once they have been taken.
pub fn versions(resources: &Resources) -> Held {
    resources
        .iter()
        .map(|(key, resource)| (key.clone(), resource.version.clone()))
        .collect()
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
