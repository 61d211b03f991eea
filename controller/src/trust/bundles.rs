//! What each namespace whose pods are intercepted holds for them: ConfigMap `weir-trust`, the public roots and ours, and `weir-environment`, the
//! variables of containers that take theirs from elsewhere. Kept by the Lease's holder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::ByteString;
use kube::{Client, ResourceExt};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_api::java;

use super::copies::{Content, Copies, FAILED_AGAIN_AFTER};
use super::owner::Ownership;
use super::root::Roots;
use crate::configuration::Configuration;
use crate::environment;
use crate::names::{BUNDLE_KEY, ENVIRONMENT_CONFIG_MAP, JAVA_KEY, ROOT_KEY, TRUST_CONFIG_MAP};
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
        if is_holder {
            pace.pass(async || {
                let wanted = wanted(&sources.stores, &sources.exempt);
                // First: what a container can start without is there when the pod's volume is.
                if let Some(configuration) = configuration {
                    let environments = Environments::of(&mut environments, configuration);
                    variables
                        .keep(&wanted, |namespace| environments.content(namespace))
                        .await;
                }
                if let Some(roots) = roots {
                    let bundle = Bundle::of(&mut bundle, roots, &sources.public_roots);
                    trust.keep(&wanted, |_| Arc::clone(&bundle.content)).await;
                }
            })
            .await;
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

/// What `weir-trust` holds. It is made once for these roots: there are pods' changes all the time.
struct Bundle {
    of: Arc<Roots>,
    content: Arc<Content>,
}

impl Bundle {
    /// `made`, made anew if it is of other roots.
    fn of<'a>(made: &'a mut Option<Self>, roots: Arc<Roots>, public_roots: &str) -> &'a Self {
        made.take_if(|bundle| !Arc::ptr_eq(&bundle.of, &roots));
        made.get_or_insert_with(|| Self {
            content: Arc::new(trusted(public_roots, &roots.trusted_pem)),
            of: roots,
        })
    }
}

/// What `weir-environment` holds, by namespace. It is made once for a configuration, as above.
struct Environments {
    of: Arc<Configuration>,
    by_namespace: BTreeMap<String, Arc<Content>>,
}

impl Environments {
    /// `made`, made anew if it is of another configuration.
    fn of(made: &mut Option<Self>, configuration: Arc<Configuration>) -> &mut Self {
        made.take_if(|environments| !Arc::ptr_eq(&environments.of, &configuration));
        made.get_or_insert_with(|| Self {
            of: configuration,
            by_namespace: BTreeMap::new(),
        })
    }

    fn content(&mut self, namespace: &str) -> Arc<Content> {
        if let Some(content) = self.by_namespace.get(namespace) {
            return Arc::clone(content);
        }
        let variables = environment::for_any(self.of.credentialed(namespace));
        let content = Arc::new(Content::new(variables, BTreeMap::new()));
        self.by_namespace
            .insert(namespace.to_owned(), Arc::clone(&content));
        content
    }
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

/// What `weir-trust` holds of the public roots and ours, both in PEM.
fn trusted(public_roots: &str, ours: &str) -> Content {
    let bundle = bundle(public_roots, ours);
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok);
    let java = java::trust_store(certificates);
    Content::new(
        BTreeMap::from([
            (BUNDLE_KEY.to_owned(), bundle),
            (ROOT_KEY.to_owned(), ours.to_owned()),
        ]),
        BTreeMap::from([(JAVA_KEY.to_owned(), ByteString(java))]),
    )
}

fn bundle(public_roots: &str, ours: &str) -> String {
    format!("{}\n{ours}", public_roots.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_ends_with_our_root() {
        assert_eq!(bundle("public\n\n", "ours\n"), "public\nours\n");
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
}
