//! The owner reference of the objects that the controller makes: they go when the release goes, for nobody else knows of them.

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta};
use kube::{Client, Resource};

use crate::names::CONTROLLER;

/// What every object is marked with that the controller makes.
#[derive(Debug, Clone)]
pub struct Ownership {
    reference: Option<OwnerReference>,
}

impl Ownership {
    /// The release's ClusterRole owns them: it is there for as long as the release, may own objects of any namespace, and, unlike a
    /// Deployment, nobody deletes it to restart something. Without it (outside of the chart) nobody does.
    pub async fn find(client: Client) -> kube::Result<Self> {
        let role = Api::<ClusterRole>::all(client)
            .get_metadata_opt(CONTROLLER)
            .await?;
        let reference = role.and_then(|role| {
            Some(OwnerReference {
                api_version: ClusterRole::api_version(&()).into_owned(),
                kind: ClusterRole::kind(&()).into_owned(),
                name: role.metadata.name?,
                uid: role.metadata.uid?,
                controller: None,
                block_owner_deletion: None,
            })
        });
        if reference.is_none() {
            tracing::warn!(
                "there is no ClusterRole {CONTROLLER}: what the controller makes will not go with the release"
            );
        }
        Ok(Self { reference })
    }

    /// Whether the release stays: its ClusterRole is there, and is not about to go. What it owns is deleted only after it.
    pub async fn stays(&self, client: &Client) -> kube::Result<bool> {
        let Some(ours) = &self.reference else {
            return Ok(true);
        };
        match Api::<ClusterRole>::all(client.clone())
            .get_metadata_opt(&ours.name)
            .await
        {
            Ok(role) => Ok(role.is_some_and(|role| {
                role.metadata.uid.as_ref() == Some(&ours.uid) && role.metadata.deletion_timestamp.is_none()
            })),
            // The rights went before the role.
            Err(kube::Error::Api(status)) if [401, 403].contains(&status.code) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether another release's ClusterRole owns an object: one of that name that is gone, so that the object is about to go.
    pub fn is_anothers(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.iter().flatten();
        let mut roles =
            owners.filter(|owner| owner.kind == ClusterRole::kind(&()) && owner.name == CONTROLLER);
        roles.any(|owner| self.reference.as_ref().is_none_or(|ours| ours.uid != owner.uid))
    }

    /// Metadata of an object of that name.
    pub fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                [
                    ("app.kubernetes.io/name".to_owned(), "weir".to_owned()),
                    (MANAGED_BY.to_owned(), CONTROLLER.to_owned()),
                ]
                .into(),
            ),
            owner_references: self.reference.clone().map(|reference| vec![reference]),
            ..ObjectMeta::default()
        }
    }
}

/// The label that says whether an object is the controller's to remove.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
