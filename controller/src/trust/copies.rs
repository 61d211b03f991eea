//! A ConfigMap of one name that the controller keeps in several namespaces: what is there is watched, what is wanted is written, and what else is
//! ours is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::watcher;
use kube::{Client, ResourceExt};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::owner::{MANAGED_BY, Ownership};
use crate::client::watching;
use crate::names::{CONTROLLER, FIELD_MANAGER};
use crate::watch::stores::reflect;

/// How long a namespace is let be where an attempt has failed.
pub(super) const FAILED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What a ConfigMap holds, and the digest by which it is known.
pub(super) struct Content {
    map: ConfigMap,
    digest: String,
}

impl Content {
    /// Of texts and bytes, by key.
    pub(super) fn new(texts: BTreeMap<String, String>, bytes: BTreeMap<String, ByteString>) -> Self {
        let map = ConfigMap {
            data: Some(texts),
            binary_data: (!bytes.is_empty()).then_some(bytes),
            ..ConfigMap::default()
        };
        Self {
            digest: digest(&map),
            map,
        }
    }
}

/// The ConfigMaps of one name.
pub(super) struct Copies {
    name: &'static str,
    /// What it means to a namespace's pods that theirs can't be written.
    without: &'static str,
    client: Client,
    ownership: Ownership,
    /// All that there are.
    present: Store<ConfigMap>,
    /// Counts their changes.
    pub(super) changes: watch::Receiver<u64>,
    /// Where the last attempt has failed, and when.
    failed: BTreeMap<String, Instant>,
}

impl Copies {
    /// Watches them, in a task that never ends. Their content is replaced by its digest: one can have some 400 KiB.
    pub(super) fn watch(
        name: &'static str,
        without: &'static str,
        client: Client,
        ownership: Ownership,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let writer = Writer::default();
        let present = writer.as_reader();
        let (changed, changes) = watch::channel(0);
        let configuration = watching().fields(&format!("metadata.name={name}")).page_size(20);
        let events = watcher(Api::<ConfigMap>::all(client.clone()), configuration).modify(|map| {
            let digest = digest(map);
            map.metadata.managed_fields = None;
            map.binary_data = None;
            map.data = Some(BTreeMap::from([(DIGEST.to_owned(), digest)]));
        });
        tasks.spawn(async move { reflect(events, writer, changed, &format!("ConfigMaps {name}")).await });
        Self {
            name,
            without,
            client,
            ownership,
            present,
            changes,
            failed: BTreeMap::new(),
        }
    }

    /// Returns when those that there are have been listed once.
    pub(super) async fn ready(&self) {
        // An error means that the writer is gone: the controller is about to end.
        let _ = self.present.wait_until_ready().await;
    }

    /// Whether it is not everywhere as it should be, which has been told.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Has it in the `wanted` namespaces, and in no other. Where that has failed, a namespace is let be until [`FAILED_AGAIN_AFTER`] has passed: it may
    /// be one whose quota is used up, and something changes in the cluster all the time.
    pub(super) async fn keep(
        &mut self,
        wanted: &BTreeSet<String>,
        mut content: impl FnMut(&str) -> Arc<Content>,
    ) {
        self.failed.retain(|_, at| at.elapsed() < FAILED_AGAIN_AFTER);
        let present = self.present.state();
        let there: BTreeMap<&str, &ConfigMap> = present
            .iter()
            .filter_map(|map| Some((map.metadata.namespace.as_deref()?, map.as_ref())))
            .collect();
        for namespace in wanted {
            if self.failed.contains_key(namespace) {
                continue;
            }
            let content = content(namespace);
            let has_it = there
                .get(namespace.as_str())
                .is_some_and(|map| holds(map, &content.digest));
            if !has_it && self.write(namespace, &content.map).await.is_err() {
                self.failed.insert(namespace.clone(), Instant::now());
            }
        }
        for (namespace, map) in there {
            let is_ours = map.labels().get(MANAGED_BY).is_some_and(|by| by == CONTROLLER);
            if is_ours
                && !wanted.contains(namespace)
                && !self.failed.contains_key(namespace)
                && self.remove(namespace).await.is_err()
            {
                self.failed.insert(namespace.to_owned(), Instant::now());
            }
        }
    }

    async fn write(&self, namespace: &str, content: &ConfigMap) -> kube::Result<()> {
        let Self { name, without, .. } = self;
        let map = ConfigMap {
            metadata: self.ownership.metadata(name),
            ..content.clone()
        };
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let written = async {
            let apply = PatchParams::apply(FIELD_MANAGER).force();
            let written = maps.patch(name, &apply, &Patch::Apply(&map)).await?;
            if digest(&written) == digest(content) {
                return Ok(());
            }
            // Somebody has added keys, which are theirs by server-side apply, and would be read all the same.
            let without_others = serde_json::json!({
                "data": others(&written.data, &content.data),
                "binaryData": others(&written.binary_data, &content.binary_data),
            });
            maps.patch(name, &PatchParams::default(), &Patch::Merge(without_others))
                .await?;
            Ok(())
        };
        written
            .await
            .inspect(|()| tracing::info!("ConfigMap {namespace}/{name} was written"))
            .inspect_err(|error| tracing::warn!("ConfigMap {namespace}/{name}: {error}; {without}"))
    }

    async fn remove(&self, namespace: &str) -> kube::Result<()> {
        let name = self.name;
        let removed = Api::<ConfigMap>::namespaced(self.client.clone(), namespace)
            .delete(name, &DeleteParams::default())
            .await;
        match removed {
            Ok(_) => tracing::info!("ConfigMap {namespace}/{name} was removed"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!("ConfigMap {namespace}/{name} can't be removed: {error}");
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The keys that are not ours, as a merge patch (RFC 7396) takes them away.
fn others<V>(
    there: &Option<BTreeMap<String, V>>,
    ours: &Option<BTreeMap<String, V>>,
) -> BTreeMap<String, Option<()>> {
    let is_ours = |key: &String| ours.as_ref().is_some_and(|ours| ours.contains_key(key));
    let there = there.iter().flat_map(BTreeMap::keys);
    there
        .filter(|key| !is_ours(key))
        .map(|key| (key.clone(), None))
        .collect()
}

const DIGEST: &str = "digest";

fn holds(map: &ConfigMap, wanted: &str) -> bool {
    let digest = map.data.as_ref().and_then(|data| data.get(DIGEST));
    digest.is_some_and(|digest| digest == wanted)
}

fn digest(content: &ConfigMap) -> String {
    let mut hash = Sha256::new();
    let texts = content.data.iter().flatten();
    let bytes = content.binary_data.iter().flatten();
    let values = texts.map(|(key, value)| (key, value.as_bytes()));
    for (key, value) in values.chain(bytes.map(|(key, value)| (key, value.0.as_slice()))) {
        for part in [key.as_bytes(), value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_others_are_taken_away() {
        let map = |keys: &[&str]| {
            let keys = keys.iter().map(|key| ((*key).to_owned(), String::new()));
            Some(keys.collect::<BTreeMap<_, _>>())
        };
        let others = others(&map(&["ours", "theirs"]), &map(&["ours"]));
        assert_eq!(others, [("theirs".to_owned(), None)].into());
    }

    #[test]
    fn a_digest_tells_keys_from_values() {
        let digest = |key: &str, value: &str| {
            let texts = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            Content::new(texts, BTreeMap::new()).digest
        };
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_eq!(digest("a", "b"), digest("a", "b"));
    }
}
