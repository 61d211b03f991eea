//! What each namespace whose pods are intercepted holds for them: ConfigMap `weir-trust`, the public roots and ours, and `weir-environment`, the
//! variables of containers that take theirs from elsewhere. Kept by the Lease's holder.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bundle::Bundle;
use super::copies::{Copies, FAILED_AGAIN_AFTER};
use super::owner::Ownership;
use super::root::Roots;
use super::variables::Environments;
use crate::configuration::Configuration;
use crate::names::{ENVIRONMENT_CONFIG_MAP, TRUST_CONFIG_MAP};
use crate::watch::cluster::namespaces;
use crate::watch::debounce::Pace;
use crate::watch::exempt::Exempt;
use crate::watch::pod::{self, Asked, Pod};
use crate::watch::stores::Stores;

/// What the ConfigMaps are made of, and whether it is this replica that makes them.
pub struct Sources {
    /// What the cluster has.
    pub stores: Stores,
    /// Namespaces that are left alone.
    pub exempt: Exempt,
    /// In PEM.
    pub public_roots: Arc<str>,
    /// Ours.
    pub roots: watch::Receiver<Option<Arc<Roots>>>,
    /// Whose keys Weir puts in, and where.
    pub configuration: watch::Receiver<Option<Arc<Configuration>>>,
    /// Whether it is this replica.
    pub is_holder: watch::Receiver<bool>,
}

/// Keeps the ConfigMaps while this replica is to. Never returns.
pub async fn run(client: Client, ownership: Ownership, mut sources: Sources) {
    let mut tasks = JoinSet::new();
    let mut trust = Copies::watch(
        TRUST_CONFIG_MAP,
        "its pods wait for it",
        client.clone(),
        ownership.clone(),
        &mut tasks,
    );
    let mut variables = Copies::watch(
        ENVIRONMENT_CONFIG_MAP,
        "containers with envFrom that start there do without",
        client,
        ownership,
        &mut tasks,
    );
    let mut pod_changes = sources.stores.pods_changed.subscribe();
    sources.stores.ready().await;
    trust.ready().await;
    variables.ready().await;
    let (mut bundle, mut environments) = (None, None);
    let mut pace = Pace::default();
    loop {
        trust.changes.mark_unchanged();
        variables.changes.mark_unchanged();
        pod_changes.mark_unchanged();
        let is_holder = *sources.is_holder.borrow_and_update();
        let roots = sources.roots.borrow_and_update().clone();
        let configuration = sources.configuration.borrow_and_update().clone();
        if let (true, Some(configuration), Some(roots)) = (is_holder, configuration, roots) {
            // At a pace: that is a look at all pods. What it comes to is written at once, for pods wait for it.
            let wanted = pace.pass(async || wanted(&sources.stores, &sources.exempt)).await;
            // First: what a container could start without is there when the volume is that its pod waits for.
            let environments = Environments::of(&mut environments, configuration);
            variables
                .keep(&wanted, |namespace| environments.content(namespace))
                .await;
            let bundle = Bundle::of(&mut bundle, roots, &sources.public_roots);
            trust.keep(&wanted, |_| Arc::clone(&bundle.content)).await;
        }
        let has_failed = is_holder && (trust.has_failed() || variables.has_failed());
        tokio::select! {
            _ = trust.changes.changed() => {}
            _ = variables.changes.changed() => {}
            _ = pod_changes.changed() => {}
            changed = sources.configuration.changed() => if changed.is_err() { return },
            changed = sources.roots.changed() => if changed.is_err() { return },
            changed = sources.is_holder.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(FAILED_AGAIN_AFTER), if has_failed => {}
        }
    }
}

/// Namespaces that are labelled, and those where a pod uses the ConfigMaps or is about to: they are not taken from under it.
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

/// The namespace that a pod needs them in. One that was given them before its namespace was left alone may need them to start again.
fn needed_by(pod: &Pod, exempt: &Exempt) -> Option<String> {
    let namespace = pod.namespace().unwrap_or_default();
    let asks = || pod::asked(pod.labels()) == Some(Asked::Enabled) && !exempt.contains(&namespace);
    let is_needed = pod::is_injected(pod) || asks();
    // What a kubelet has made can use no ConfigMap; in our own namespace nothing was ever given them.
    let is_left_alone = pod::is_mirror(pod) || exempt.is_own(&namespace);
    (is_needed && !is_left_alone && !pod::is_over(pod)).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
