//! Publishes the authorities that clients of our servers verify them by: the agents by a ConfigMap, the API server in the webhook's
//! configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;

use super::owner::Ownership;
use crate::names::{CONTROL_PLANE_CA, FIELD_MANAGER};
use crate::watch::follow::{Seen, follow};

/// The ConfigMap's key.
const AUTHORITY_KEY: &str = "ca.crt";
const RETRIED_AFTER: Duration = Duration::from_secs(5);

/// An authority, PEM, as far as it is known.
type AuthorityPem = watch::Receiver<Option<Arc<str>>>;

/// Keeps the ConfigMap that agents read the gRPC server's authority from. Never returns.
pub async fn agents(client: Client, ownership: Ownership, authority: AuthorityPem) {
    let config_maps = Api::<ConfigMap>::default_namespaced(client);
    let (seen, present) = watch::channel(Present::Unknown);
    let following = follow(config_maps.clone(), CONTROL_PLANE_CA, |map| {
        let says = map
            .object()
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove(AUTHORITY_KEY));
        seen.send_replace(Present::Says(says.into_iter().collect()));
    });
    let write = |pem: Arc<str>| {
        let map = ConfigMap {
            metadata: ownership.metadata(CONTROL_PLANE_CA),
            data: Some(BTreeMap::from([(AUTHORITY_KEY.to_owned(), pem.to_string())])),
            ..ConfigMap::default()
        };
        let config_maps = config_maps.clone();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        async move {
            config_maps
                .patch(CONTROL_PLANE_CA, &parameters, &Patch::Apply(&map))
                .await
                .map(|_| ())
        }
        .boxed()
    };
    let is_right = |says: &[String], pem: &str| says == [pem];
    tokio::join!(
        following,
        keep("ConfigMap", CONTROL_PLANE_CA, authority, present, is_right, write)
    );
}

/// Keeps the authority in the webhook's configuration of that name. Never returns.
///
/// The configuration is the chart's; only `caBundle` is ours, and server-side apply keeps each to their own.
pub async fn api_server(client: Client, name: String, authority: AuthorityPem) {
    let configurations = Api::<MutatingWebhookConfiguration>::all(client);
    let (seen, present) = watch::channel(Present::Unknown);
    let (webhooks, names) = watch::channel(Vec::new());
    let following = follow(
        configurations.clone(),
        &name,
        |found: Seen<MutatingWebhookConfiguration>| {
            let found = found.object();
            if found.is_none() {
                tracing::warn!(
                    "there is no MutatingWebhookConfiguration {name}: pods are not given our root, and are only observed; \
                     install the chart's"
                );
            }
            let found = found
                .and_then(|configuration| configuration.webhooks)
                .unwrap_or_default();
            webhooks.send_replace(found.iter().map(|webhook| webhook.name.clone()).collect());
            let bundle = |webhook: k8s_openapi::api::admissionregistration::v1::MutatingWebhook| {
                let bundle = webhook.client_config.ca_bundle.unwrap_or_default().0;
                String::from_utf8_lossy(&bundle).into_owned()
            };
            seen.send_replace(Present::Says(found.into_iter().map(bundle).collect()));
        },
    );
    let write = |pem: Arc<str>| {
        let bundle = STANDARD.encode(pem.as_bytes());
        let webhooks: Vec<_> = names
            .borrow()
            .iter()
            .map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        let patch = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": webhooks,
        });
        let (configurations, name) = (configurations.clone(), name.clone());
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        async move {
            configurations
                .patch(&name, &parameters, &Patch::Apply(&patch))
                .await
                .map(|_| ())
        }
        .boxed()
    };
    // Without an entry there is nothing to put it into.
    let is_right = |says: &[String], pem: &str| says.iter().all(|says| says == pem);
    tokio::join!(
        following,
        keep(
            "MutatingWebhookConfiguration",
            &name,
            authority,
            present,
            is_right,
            write
        )
    );
}

#[derive(Debug)]
enum Present {
    Unknown,
    Says(Vec<String>),
}

async fn keep(
    kind: &str,
    name: &str,
    mut authority: AuthorityPem,
    mut present: watch::Receiver<Present>,
    is_right: impl Fn(&[String], &str) -> bool,
    write: impl Fn(Arc<str>) -> BoxFuture<'static, kube::Result<()>>,
) {
    loop {
        let wanted = authority.borrow_and_update().clone();
        let mut is_wrong = |wanted: &Arc<str>| match &*present.borrow_and_update() {
            Present::Unknown => false,
            Present::Says(says) => !is_right(says, wanted),
        };
        if let Some(wanted) = wanted.filter(|wanted| is_wrong(wanted)) {
            match write(wanted).await {
                Ok(()) => tracing::info!("{kind} {name} was given the server's authority"),
                Err(error) => {
                    tracing::warn!("{kind} {name}: {error}; trying again");
                    tokio::time::sleep(RETRIED_AFTER).await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = authority.changed() => if changed.is_err() { return },
            changed = present.changed() => if changed.is_err() { return },
        }
    }
}
