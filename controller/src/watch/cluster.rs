//! From what is known of the cluster's objects to what is told: one task for the configuration, one for the workloads.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use kube::{Client, Resource, ResourceExt};
use tokio::sync::watch;
use weir_api::{Objects, Sharing, translate_each};

use super::debounce::Pace;
use super::exempt::Exempt;
use super::follow::Seen;
use super::placed::NodeWorkloads;
use super::pod::{self, Asked};
use super::references::{Content, Name, Reference, References};
use super::stores::Stores;
use super::workloads::by_node;
use crate::configuration::{Configuration, Defaults};
use crate::trust::leaves::Leaves;
use crate::trust::root::Roots;

/// Where the configuration is told.
pub type Told = watch::Sender<Option<Arc<Configuration>>>;

/// Keeps the configuration. Never returns.
///
/// Nothing is told before everything that it comes from has been read once: an agent that holds something must not be told to let go of it
/// because the controller has only just begun.
pub async fn configure(
    client: Client,
    stores: Stores,
    mut roots: watch::Receiver<Option<Arc<Roots>>>,
    defaults: Defaults,
    sharing: Sharing,
    told: Told,
) {
    let (references_changed, mut reference_changes) = watch::channel(0);
    let mut object_changes = stores.objects_changed.subscribe();
    let mut references = References::new(client, references_changed);
    let mut leaves = Leaves::default();
    let mut pace = Pace::default();
    let mut signing: Option<Arc<Roots>> = None;
    stores.ready().await;
    if roots.wait_for(Option::is_some).await.is_err() {
        return; // the controller ends
    }
    loop {
        object_changes.mark_unchanged();
        reference_changes.mark_unchanged();
        let now = roots.borrow_and_update().clone();
        if let (Some(now), Some(before)) = (&now, &signing)
            && !Arc::ptr_eq(now, before)
        {
            leaves.clear();
        }
        signing = now;
        if let Some(roots) = &signing {
            let read = |references: &mut _| objects(&stores, references, &sharing);
            pace.pass(async || {
                // Without all of them it is passed again when the last reference is known.
                if let Some(objects) = read(&mut references) {
                    pass(&objects, &mut leaves, roots, defaults, &told);
                }
            })
            .await;
        }
        // A leaf's renewal is hours away, so that a pass that has failed to renew it is made again at the next change or minute.
        let due = leaves.renew_at().map(|at| {
            at.duration_since(SystemTime::now())
                .unwrap_or(RENEWAL_RETRIED_AFTER)
        });
        tokio::select! {
            _ = object_changes.changed() => {}
            _ = reference_changes.changed() => {}
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(due.unwrap_or(RENEWAL_RETRIED_AFTER)) => {}
        }
    }
}

const RENEWAL_RETRIED_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

fn pass(objects: &Objects, leaves: &mut Leaves, roots: &Roots, defaults: Defaults, told: &Told) {
    let translation = translate_each(objects);
    let hosts: BTreeSet<String> = translation.snapshot.hosts().map(str::to_owned).collect();
    let leaves = match leaves.update(&roots.authority, &hosts, SystemTime::now()) {
        Ok(leaves) => leaves,
        Err(error) => {
            tracing::error!("leaves: {error}; agents keep what they have");
            return;
        }
    };
    let configuration = Configuration::new(translation.snapshot, leaves, translation.outcomes, defaults);
    told.send_if_modified(|last| {
        let is_changed = last.as_ref().is_none_or(|last| !last.is_as(&configuration));
        if is_changed {
            *last = Some(Arc::new(configuration));
        }
        is_changed
    });
}

/// All objects as far as they matter; `None` while something that one of them refers to has not been read yet.
fn objects(stores: &Stores, references: &mut References, sharing: &Sharing) -> Option<Objects> {
    let mut objects = Objects::shared_by(sharing.clone());
    let mut wanted = BTreeSet::new();
    for backend in stores.backends.state() {
        let namespace = backend.namespace().unwrap_or_default();
        for reference in weir_api::references(&backend.spec) {
            let name = Name {
                namespace: namespace.clone(),
                name: reference.name,
            };
            wanted.insert(match reference.kind {
                "Secret" => Reference::Secret(name),
                _ => Reference::ConfigMap(name),
            });
        }
        let creation = created(backend.as_ref());
        objects.add_backend(&namespace, &backend.name_any(), creation, backend.spec.clone());
    }
    for policy in stores.policies.state() {
        let namespace = policy.namespace().unwrap_or_default();
        let creation = created(policy.as_ref());
        objects.add_policy(&namespace, &policy.name_any(), creation, policy.spec.clone());
    }
    references.follow(&wanted);
    for (reference, content) in references.contents()? {
        match (reference, content) {
            (Reference::Secret(at), Seen::There(Content::Secret(data))) => {
                objects.add_secret(&at.namespace, &at.name, (*data).clone());
            }
            (Reference::ConfigMap(at), Seen::There(Content::ConfigMap(data))) => {
                objects.add_config_map(&at.namespace, &at.name, (*data).clone());
            }
            (Reference::Secret(at), Seen::Forbidden) => {
                objects.add_forbidden("Secret", &at.namespace, &at.name);
            }
            (Reference::ConfigMap(at), Seen::Forbidden) => {
                objects.add_forbidden("ConfigMap", &at.namespace, &at.name);
            }
            (Reference::Secret(at), Seen::Unreadable(why)) => {
                objects.add_unanswered("Secret", &at.namespace, &at.name, why);
            }
            (Reference::ConfigMap(at), Seen::Unreadable(why)) => {
                objects.add_unanswered("ConfigMap", &at.namespace, &at.name, why);
            }
            _ => {}
        }
    }
    Some(objects)
}

/// In seconds since the epoch.
fn created(object: &impl Resource) -> i64 {
    let creation = object.meta().creation_timestamp.as_ref();
    creation.map_or(i64::MAX, |time| time.0.as_second())
}

/// Keeps the workloads. Never returns.
pub async fn place(
    stores: Stores,
    exempt: Exempt,
    mut configuration: watch::Receiver<Option<Arc<Configuration>>>,
    workloads: NodeWorkloads,
) {
    let mut changes = stores.pods_changed.subscribe();
    let mut pace = Pace::default();
    stores.ready().await;
    if configuration.wait_for(Option::is_some).await.is_err() {
        return; // the controller ends
    }
    loop {
        changes.mark_unchanged();
        let now = configuration.borrow_and_update().clone().unwrap_or_default();
        pace.pass(async || {
            let namespaces = namespaces(&stores);
            let pods = stores.pods.state();
            let nodes = by_node(&pods, &namespaces, &exempt, |pod| now.workload_policies(pod));
            workloads.publish(&now, nodes);
        })
        .await;
        tokio::select! {
            _ = changes.changed() => {}
            changed = configuration.changed() => if changed.is_err() { return },
        }
    }
}

/// What each namespace asks for that asks for something.
pub fn namespaces(stores: &Stores) -> HashMap<String, Asked> {
    stores
        .namespaces
        .state()
        .iter()
        .filter_map(|namespace| Some((namespace.name_any(), pod::asked(namespace.labels())?)))
        .collect()
}
