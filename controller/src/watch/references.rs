//! The Secrets and ConfigMaps that backends refer to: each is followed by its name for as long as some backend names it, and no other is
//! ever read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;
use secrecy::SecretSlice;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::follow::{Seen, follow};

/// A namespace and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What is referred to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A Secret.
    Secret(Name),
    /// A ConfigMap.
    ConfigMap(Name),
}

/// What an object holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// A Secret's `data`.
    Secret(Arc<BTreeMap<String, SecretSlice<u8>>>),
    /// A ConfigMap's `data`.
    ConfigMap(Arc<BTreeMap<String, String>>),
}

/// What is absent from the map is not known yet.
type Known = HashMap<Reference, Seen<Content>>;

/// Follows what is referred to.
pub struct References {
    client: Client,
    known: Arc<Mutex<Known>>,
    changes: watch::Sender<u64>,
    following: HashMap<Reference, AbortOnDropHandle<()>>,
}

impl References {
    /// Says by `changes` when what is known has changed.
    pub fn new(client: Client, changes: watch::Sender<u64>) -> Self {
        Self {
            client,
            known: Arc::default(),
            changes,
            following: HashMap::new(),
        }
    }

    /// Follows all of `wanted`, and no other from now on.
    pub fn follow(&mut self, wanted: &BTreeSet<Reference>) {
        self.following.retain(|reference, _| wanted.contains(reference));
        self.known
            .lock()
            .retain(|reference, _| wanted.contains(reference));
        for reference in wanted {
            if !self.following.contains_key(reference) {
                let task = tokio::spawn(self.follow_one(reference.clone()));
                self.following
                    .insert(reference.clone(), AbortOnDropHandle::new(task));
            }
        }
    }

    /// What all of them hold; `None` while some are not known yet.
    pub fn contents(&self) -> Option<HashMap<Reference, Seen<Content>>> {
        let known = self.known.lock();
        self.following
            .keys()
            .all(|reference| known.contains_key(reference))
            .then(|| known.clone())
    }

    fn follow_one(&self, reference: Reference) -> impl Future<Output = ()> + Send + use<> {
        let (client, known, changes) = (self.client.clone(), Arc::clone(&self.known), self.changes.clone());
        let tell = move |reference: &Reference, content: Seen<Content>| {
            known.lock().insert(reference.clone(), content);
            changes.send_modify(|last| *last += 1);
        };
        async move {
            match &reference {
                Reference::Secret(name) => {
                    let secrets = Api::<Secret>::namespaced(client, &name.namespace);
                    let seen = |secret: Seen<Secret>| tell(&reference, secret.map(secret_content));
                    follow(secrets, &name.name, seen).await;
                }
                Reference::ConfigMap(name) => {
                    let config_maps = Api::<ConfigMap>::namespaced(client, &name.namespace);
                    let content = |map: ConfigMap| Content::ConfigMap(Arc::new(map.data.unwrap_or_default()));
                    let seen = |map: Seen<ConfigMap>| tell(&reference, map.map(content));
                    follow(config_maps, &name.name, seen).await;
                }
            }
        }
    }
}

fn secret_content(secret: Secret) -> Content {
    // The bytes are moved, not copied, so that they are wiped when they go.
    let data = secret.data.unwrap_or_default();
    Content::Secret(Arc::new(
        data.into_iter()
            .map(|(key, value)| (key, value.0.into()))
            .collect(),
    ))
}
