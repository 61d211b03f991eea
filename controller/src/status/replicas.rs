//! What replicas tell each other: an agent is connected to one of them, and the one that writes statuses has to know of all.
//!
//! Each replica that does not hold the Lease writes its [`Summary`] into a ConfigMap of its own, which goes with its pod. That takes no
//! further port, and no certificate for the replicas to know each other by.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::watcher;
use kube::{Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::programmed::Summary;
use crate::client::watching;
use crate::names::{FIELD_MANAGER, SUMMARY_LABEL};
use crate::trust::owner::Ownership;
use crate::watch::stores::reflect;

const KEY: &str = "summary";

/// The summaries of all replicas, and how to tell ours.
pub struct Replicas {
    config_maps: Api<ConfigMap>,
    ownership: Ownership,
    own: String,
    pod: Option<OwnerReference>,
    present: Store<ConfigMap>,
    told: Option<Summary>,
}

impl Replicas {
    /// For the replica of that name, which is its pod's.
    pub async fn new(
        client: &Client,
        ownership: Ownership,
        replica: &str,
        tasks: &mut JoinSet<()>,
    ) -> (Self, watch::Receiver<u64>) {
        let config_maps = Api::<ConfigMap>::default_namespaced(client.clone());
        let writer = Writer::default();
        let present = writer.as_reader();
        let (changed, changes) = watch::channel(0);
        let configuration = watching().labels(SUMMARY_LABEL);
        tasks.spawn(reflect(
            watcher(config_maps.clone(), configuration),
            writer,
            changed,
            "summaries of replicas",
        ));
        let pods = Api::<Pod>::default_namespaced(client.clone());
        let pod = match pods.get_metadata_opt(replica).await {
            Ok(pod) => pod.and_then(|pod| {
                Some(OwnerReference {
                    api_version: Pod::api_version(&()).into_owned(),
                    kind: Pod::kind(&()).into_owned(),
                    name: pod.metadata.name?,
                    uid: pod.metadata.uid?,
                    ..OwnerReference::default()
                })
            }),
            Err(error) => {
                tracing::warn!("pod {replica}: {error}");
                None
            }
        };
        let replicas = Self {
            config_maps,
            ownership,
            own: format!("weir-programmed-{replica}"),
            pod,
            present,
            told: None,
        };
        (replicas, changes)
    }

    /// What the others have told.
    pub fn others(&self) -> Vec<Summary> {
        let present = self.present.state();
        let others = present.iter().filter(|map| map.name_any() != self.own);
        others
            .filter_map(|map| {
                let text = map.data.as_ref()?.get(KEY)?;
                // Of another version of the controller it may not be read: then its agents are not counted until it is gone.
                serde_json::from_str(text).ok()
            })
            .collect()
    }

    /// Tells ours, where that is not what was told last.
    pub async fn tell(&mut self, summary: Summary) -> kube::Result<()> {
        if self.told.as_ref() == Some(&summary) {
            return Ok(());
        }
        let text = serde_json::to_string(&summary).map_err(kube::Error::SerdeError)?;
        let mut metadata = self.ownership.metadata(&self.own);
        metadata
            .labels
            .get_or_insert_default()
            .insert(SUMMARY_LABEL.to_owned(), "true".to_owned());
        if let Some(pod) = &self.pod {
            metadata.owner_references = Some(vec![pod.clone()]);
        }
        let map = ConfigMap {
            metadata,
            data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.config_maps
            .patch(&self.own, &parameters, &Patch::Apply(&map))
            .await?;
        self.told = Some(summary);
        Ok(())
    }

    /// Takes back what was told: this replica writes the statuses itself, or ends.
    pub async fn take_back(&mut self) -> kube::Result<()> {
        if self.told.take().is_none() {
            return Ok(());
        }
        match self.config_maps.delete(&self.own, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }
}
