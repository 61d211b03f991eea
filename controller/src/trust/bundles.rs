//! The ConfigMap `weir-trust` of each namespace whose pods are intercepted: the public roots and ours. Kept by the Lease's holder.

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
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_api::java;

use super::owner::{MANAGED_BY, Ownership};
use super::root::Roots;
use crate::client::watching;
use crate::names::{BUNDLE_KEY, CONTROLLER, FIELD_MANAGER, JAVA_KEY, ROOT_KEY, TRUST_CONFIG_MAP};
use crate::watch::cluster::namespaces;
use crate::watch::exempt::Exempt;
use crate::watch::pod::{self, Asked, Pod};
use crate::watch::stores::{Stores, reflect};

const RETRIED_AFTER: Duration = Duration::from_secs(5);

/// Keeps the ConfigMaps while `is_holder`. Never returns.
pub async fn run(
    client: Client,
    ownership: Ownership,
    stores: Stores,
    exempt: Exempt,
    public_roots: Arc<str>,
    mut roots: watch::Receiver<Option<Arc<Roots>>>,
    mut is_holder: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let (present, mut changes) = present(&client, &mut tasks);
    let mut pod_changes = stores.pods_changed.subscribe();
    stores.ready().await;
    // An error means that the writer is gone: the controller is about to end.
    let _ = present.wait_until_ready().await;
    let mut made: Option<Bundle> = None;
    loop {
        changes.mark_unchanged();
        pod_changes.mark_unchanged();
        let now = roots.borrow_and_update().clone();
        let mut has_failed = false;
        if let Some(roots) = now.filter(|_| *is_holder.borrow_and_update()) {
            let bundle = match made.take().filter(|bundle| Arc::ptr_eq(&bundle.of, &roots)) {
                Some(bundle) => bundle,
                None => Bundle::of(roots, &public_roots),
            };
            let wanted = wanted(&stores, &exempt);
            let kept = keep(&client, &ownership, &present, &bundle, &wanted).await;
            has_failed = kept.is_err();
            made = Some(bundle);
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = pod_changes.changed() => {}
            changed = roots.changed() => if changed.is_err() { return },
            changed = is_holder.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRIED_AFTER), if has_failed => {}
        }
    }
}

/// What the ConfigMaps hold. It is made once for these roots: there are pods' changes all the time.
struct Bundle {
    of: Arc<Roots>,
    content: ConfigMap,
    digest: String,
}

impl Bundle {
    fn of(roots: Arc<Roots>, public_roots: &str) -> Self {
        let content = content(public_roots, &roots.trusted_pem);
        Self {
            digest: digest(&content),
            content,
            of: roots,
        }
    }
}

/// Has it in the `wanted` namespaces, and in no other. An error: not everywhere, which has been told.
async fn keep(
    client: &Client,
    ownership: &Ownership,
    present: &Store<ConfigMap>,
    bundle: &Bundle,
    wanted: &BTreeSet<String>,
) -> kube::Result<()> {
    let mut outcome = Ok(());
    let present = present.state();
    let there: BTreeMap<&str, &ConfigMap> = present
        .iter()
        .filter_map(|map| Some((map.metadata.namespace.as_deref()?, map.as_ref())))
        .collect();
    for namespace in wanted {
        if !there
            .get(namespace.as_str())
            .is_some_and(|map| holds(map, &bundle.digest))
        {
            outcome = outcome.and(write(client, ownership, namespace, &bundle.content).await);
        }
    }
    for (namespace, map) in there {
        let is_ours = map.labels().get(MANAGED_BY).is_some_and(|by| by == CONTROLLER);
        if is_ours && !wanted.contains(namespace) {
            outcome = outcome.and(remove(client, namespace).await);
        }
    }
    outcome
}

/// All ConfigMaps of that name, their content replaced by its digest: it is some 400 KiB each time.
fn present(client: &Client, tasks: &mut JoinSet<()>) -> (Store<ConfigMap>, watch::Receiver<u64>) {
    let writer = Writer::default();
    let store = writer.as_reader();
    let (changed, changes) = watch::channel(0);
    let configuration = watching()
        .fields(&format!("metadata.name={TRUST_CONFIG_MAP}"))
        .page_size(20);
    let events = watcher(Api::<ConfigMap>::all(client.clone()), configuration).modify(|map| {
        let digest = digest(map);
        map.metadata.managed_fields = None;
        map.binary_data = None;
        map.data = Some(BTreeMap::from([(DIGEST.to_owned(), digest)]));
    });
    tasks.spawn(reflect(events, writer, changed, "ConfigMaps weir-trust"));
    (store, changes)
}

const DIGEST: &str = "digest";

fn holds(map: &ConfigMap, wanted: &str) -> bool {
    let digest = map.data.as_ref().and_then(|data| data.get(DIGEST));
    digest.is_some_and(|digest| digest == wanted)
}

/// Namespaces that are labelled, and those where a pod has the ConfigMap mounted or is about to: it is not taken from under it.
fn wanted(stores: &Stores, exempt: &Exempt) -> BTreeSet<String> {
    let asked = namespaces(stores);
    let is_enabled = |namespace: &String| asked.get(namespace) == Some(&Asked::Enabled);
    let mut wanted: BTreeSet<String> = asked
        .keys()
        .filter(|namespace| is_enabled(namespace) && !exempt.contains(namespace))
        .cloned()
        .collect();
    wanted.extend(
        stores
            .pods
            .state()
            .iter()
            .filter_map(|pod| needed_by(pod, exempt)),
    );
    // Nothing can be made in a namespace that is about to go, and all of it goes.
    for namespace in stores.namespaces.state() {
        if namespace.metadata.deletion_timestamp.is_some() {
            wanted.remove(&namespace.name_any());
        }
    }
    wanted
}

/// The namespace that a pod needs it in. One that was given it before its namespace was left alone may need it to start again.
fn needed_by(pod: &Pod, exempt: &Exempt) -> Option<String> {
    let namespace = pod.namespace().unwrap_or_default();
    let asks = || pod::asked(pod.labels()) == Some(Asked::Enabled) && !exempt.contains(&namespace);
    let is_needed = pod::is_injected(pod) || asks();
    // What a kubelet has made can have no ConfigMap mounted; in our own namespace nothing was ever given it.
    let is_left_alone = pod::is_mirror(pod) || exempt.is_own(&namespace);
    (is_needed && !is_left_alone && !pod::is_over(pod)).then_some(namespace)
}

fn content(public_roots: &str, ours: &str) -> ConfigMap {
    let bundle = format!("{}\n{ours}", public_roots.trim_end());
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok);
    let java = java::trust_store(certificates);
    ConfigMap {
        data: Some(BTreeMap::from([
            (BUNDLE_KEY.to_owned(), bundle),
            (ROOT_KEY.to_owned(), ours.to_owned()),
        ])),
        binary_data: Some(BTreeMap::from([(JAVA_KEY.to_owned(), ByteString(java))])),
        ..ConfigMap::default()
    }
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

async fn write(
    client: &Client,
    ownership: &Ownership,
    namespace: &str,
    content: &ConfigMap,
) -> kube::Result<()> {
    let map = ConfigMap {
        metadata: ownership.metadata(TRUST_CONFIG_MAP),
        ..content.clone()
    };
    Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .patch(
            TRUST_CONFIG_MAP,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&map),
        )
        .await
        .map(|_| tracing::info!("ConfigMap {namespace}/{TRUST_CONFIG_MAP} was written"))
        .inspect_err(|error| {
            tracing::warn!("ConfigMap {namespace}/{TRUST_CONFIG_MAP}: {error}; its pods wait for it");
        })
}

async fn remove(client: &Client, namespace: &str) -> kube::Result<()> {
    let removed = Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .delete(TRUST_CONFIG_MAP, &DeleteParams::default())
        .await;
    match removed {
        Ok(_) => tracing::info!("ConfigMap {namespace}/{TRUST_CONFIG_MAP} was removed"),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => {
            tracing::warn!("ConfigMap {namespace}/{TRUST_CONFIG_MAP} can't be removed: {error}");
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_ends_with_our_root_and_the_other_key_holds_it_alone() {
        let content = content("public\n\n", "ours\n");
        let data = content.data.expect("texts");
        assert_eq!(data[BUNDLE_KEY], "public\nours\n");
        assert_eq!(data[ROOT_KEY], "ours\n");
    }

    #[test]
    fn only_pods_that_may_mount_it_need_it() {
        let pod = |namespace: &str, annotations: &str, labels: &str| -> Pod {
            let text = format!(
                r#"{{"metadata":{{"name":"web","namespace":"{namespace}","annotations":{annotations},"labels":{labels}}},"spec":{{}}}}"#
            );
            serde_json::from_str(&text).expect("a pod")
        };
        let exempt = Exempt::new("weir-system", ["kube-system".to_owned()]);
        let (given, asks) = (
            r#"{"weir.dev/injected":"1"}"#,
            r#"{"weir.dev/intercept":"enabled"}"#,
        );
        let made = r#"{"weir.dev/injected":"1","kubernetes.io/config.mirror":"1"}"#;
        for (namespace, annotations, labels, is_needed) in [
            ("shop", given, "{}", true),
            ("shop", "{}", asks, true),
            ("shop", "{}", "{}", false),
            ("shop", made, asks, false),
            ("kube-system", "{}", asks, false),
            ("kube-system", given, "{}", true),
            ("weir-system", given, asks, false),
        ] {
            let needed = needed_by(&pod(namespace, annotations, labels), &exempt);
            assert_eq!(
                needed.is_some(),
                is_needed,
                "{namespace}, {annotations}, {labels}"
            );
        }
    }

    #[test]
    fn a_digest_tells_keys_from_values() {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let data = pairs.map(|&(key, value)| (key.to_owned(), value.to_owned()));
            ConfigMap {
                data: Some(data.collect()),
                ..ConfigMap::default()
            }
        };
        assert_ne!(digest(&map(&[("a", "bc")])), digest(&map(&[("ab", "c")])));
        assert_eq!(digest(&map(&[("a", "b")])), digest(&map(&[("a", "b")])));
    }
}
