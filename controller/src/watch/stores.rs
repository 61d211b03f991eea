//! Reflectors: what the API server has, kept up to date in memory.

use std::fmt::Debug;
use std::hash::Hash;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, utils::StreamBackoff};
use kube::{Client, Resource};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_api::kubernetes::{AIBackend, AIPolicy};

use super::pod::{self, Pod};
use crate::client::watching;

/// Objects a page of the first list: it bounds what of a large cluster is in memory as JSON at once.
const PAGE: u32 = 500;

/// What is kept of the cluster. Cloning it gives another handle to the same.
#[derive(Clone)]
pub struct Stores {
    /// All AIBackends.
    pub backends: Store<AIBackend>,
    /// All AIPolicies.
    pub policies: Store<AIPolicy>,
    /// All namespaces: their metadata alone.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// All pods, trimmed.
    pub pods: Store<Pod>,
    /// Counts the changes of AIBackends and AIPolicies.
    pub objects_changed: watch::Sender<u64>,
    /// Counts the changes of pods and namespaces.
    pub pods_changed: watch::Sender<u64>,
    is_filled: watch::Sender<bool>,
}

impl Stores {
    /// Starts to fill them, in tasks that never end.
    pub fn start(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let (backends, policies) = (Writer::default(), Writer::default());
        let (namespaces, pods) = (Writer::default(), Writer::new(pod::resource()));
        let stores = Self {
            backends: backends.as_reader(),
            policies: policies.as_reader(),
            namespaces: namespaces.as_reader(),
            pods: pods.as_reader(),
            objects_changed: watch::channel(0).0,
            pods_changed: watch::channel(0).0,
            is_filled: watch::channel(false).0,
        };
        let configuration = watching().page_size(PAGE);
        let objects_changed = stores.objects_changed.clone();
        let pods_changed = stores.pods_changed.clone();
        tasks.spawn(reflect(
            watcher(Api::<AIBackend>::all(client.clone()), configuration.clone()),
            backends,
            objects_changed.clone(),
            "AIBackends",
        ));
        tasks.spawn(reflect(
            watcher(Api::<AIPolicy>::all(client.clone()), configuration.clone()),
            policies,
            objects_changed,
            "AIPolicies",
        ));
        tasks.spawn(reflect(
            watcher(
                Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
                configuration.clone(),
            ),
            namespaces,
            pods_changed.clone(),
            "namespaces",
        ));
        let all_pods = Api::<Pod>::all_with(client.clone(), &pod::resource());
        tasks.spawn(reflect(
            watcher(all_pods, configuration).modify(pod::trim),
            pods,
            pods_changed,
            "pods",
        ));
        tasks.spawn(stores.clone().tell_when_filled());
        stores
    }

    /// Returns when each of them has been filled once.
    pub async fn ready(&self) {
        // An error means that the task which fills it is gone: then the controller is about to end.
        let _ = self.is_filled.subscribe().wait_for(|is_filled| *is_filled).await;
    }

    /// Tells when they are filled. One task waits for the stores themselves, for of several that wait they wake only the last.
    async fn tell_when_filled(self) {
        let filled = [
            self.backends.wait_until_ready().await,
            self.policies.wait_until_ready().await,
            self.namespaces.wait_until_ready().await,
            self.pods.wait_until_ready().await,
        ];
        if filled.iter().all(Result::is_ok) {
            self.is_filled.send_replace(true);
        }
        // A task of the controller's never ends.
        std::future::pending().await
    }
}

pub(crate) async fn reflect<K, S>(events: S, mut writer: Writer<K>, changed: watch::Sender<u64>, what: &str)
where
    K: Resource + Lookup + Clone + Debug + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone,
    S: futures_util::Stream<Item = watcher::Result<Event<K>>>,
{
    let events = StreamBackoff::new(events, watcher::DefaultBackoff::default());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                writer.apply_watcher_event(&event);
                // While a list comes in, the store keeps what it had.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    changed.send_modify(|last| *last += 1);
                }
            }
            Err(error) => tracing::warn!(
                "{what} can't be watched: {error}; what is known stays{}",
                mend(&error)
            ),
        }
    }
}

fn mend(error: &watcher::Error) -> &'static str {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return "",
    };
    match status.code {
        403 => " (the ClusterRole weir-controller lacks a verb: install the chart's)",
        404 => " (install the custom resources: helm install weir-crds charts/weir-crds)",
        _ => "",
    }
}
