//! What the agent holds of the controller's configuration. It outlives streams: a new one begins where the last ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use weir_api::proto::{self, resource::Body};
use weir_api::{Snapshot, resource};

use super::leaves;
use super::workloads::{self, PodWorkload, Workloads};
use crate::capture::pods::PodUid;

/// One consistent configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) snapshot: Snapshot,
    pub(super) workloads: Workloads,
    pub(super) leaves: HashMap<String, Arc<CertifiedKey>>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    resources: BTreeMap<(proto::Kind, String), Entry>,
}

#[derive(Debug)]
struct Entry {
    version: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// What a snapshot is made of.
    Resource(proto::Resource),
    Workload(PodUid, PodWorkload),
    Leaf(Arc<CertifiedKey>),
}

impl Held {
    /// For the next Hello.
    pub(super) fn versions(&self) -> Vec<proto::Held> {
        self.resources
            .iter()
            .map(|((kind, name), entry)| proto::Held {
                kind: (*kind).into(),
                name: name.clone(),
                version: entry.version.clone(),
            })
            .collect()
    }

    /// Takes a change in, and says what of it is rejected. Of a resource that is rejected the last good version stays.
    pub(super) fn apply(&mut self, delta: &mut proto::Delta) -> Vec<proto::Rejection> {
        for removal in &delta.removals {
            self.resources.remove(&(removal.kind(), removal.name.clone()));
        }
        let mut rejections = Vec::new();
        for resource in delta.upserts.drain(..) {
            let (kind, name) = (resource::kind_of(&resource), resource.name.clone());
            let version = resource.version.clone();
            match Content::of(resource) {
                Ok(content) => {
                    self.resources.insert((kind, name), Entry { version, content });
                }
                Err(message) => rejections.push(proto::Rejection {
                    kind: kind.into(),
                    name,
                    message,
                }),
            }
        }
        rejections
    }

    /// What is held now, as one configuration; and what of it cannot be served.
    pub(super) fn configuration(&self) -> (Configuration, Vec<proto::Rejection>) {
        let mut resources = Vec::new();
        let mut workloads = Workloads::new();
        let mut leaves = HashMap::new();
        for ((_, name), entry) in &self.resources {
            match &entry.content {
                Content::Resource(resource) => resources.push(resource),
                Content::Workload(uid, workload) => {
                    workloads.insert(uid.clone(), workload.clone());
                }
                Content::Leaf(leaf) => {
                    leaves.insert(name.clone(), Arc::clone(leaf));
                }
            }
        }
        let (snapshot, rejections) = Snapshot::from_resources(resources);
        let configuration = Configuration {
            snapshot,
            workloads,
            leaves,
        };
        (configuration, rejections)
    }
}

impl Content {
    /// Checks a resource by itself.
    fn of(resource: proto::Resource) -> Result<Self, String> {
        let Some(body) = &resource.body else {
            return Err("has no body that this agent knows: upgrade the agent".to_owned());
        };
        if resource::version_of(body) != resource.version {
            return Err("version: is not the hash of the body".to_owned());
        }
        match body {
            Body::Workload(workload) => workloads::workload(&resource.name, workload)
                .map(|(uid, workload)| Self::Workload(uid, workload)),
            Body::Leaf(leaf) => leaves::certified(leaf).map(Self::Leaf),
            Body::Backend(_) | Body::Policy(_) | Body::Credential(_) => {
                let (_, rejections) = Snapshot::from_resources([&resource]);
                match rejections.into_iter().next() {
                    Some(rejection) => Err(rejection.message),
                    None => Ok(Self::Resource(resource)),
                }
            }
        }
    }
}
