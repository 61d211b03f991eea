//! Whether the release is to retire: what the ConfigMap `weir-retiring` says, to all replicas alike.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::watch;

use super::left::{Left, shown};
use crate::names::RETIRING;
use crate::trust::owner::Ownership;
use crate::watch::follow::follow;

const RETRIED_AFTER: Duration = Duration::from_secs(5);

/// Key: by what the Job that asks tells an answer to itself from one to a Job before it.
pub(super) const ASKED: &str = "asked";
/// Key: whom the Lease's holder has answered.
pub(super) const ANSWERED: &str = "answered";
/// Key: a line for each node that is not done, none once all are.
pub(super) const LEFT: &str = "left";

/// What is to become of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It goes on.
    Stay,
    /// All pods are to be released.
    Retire {
        /// Who asks.
        asked: String,
    },
}

/// The order as it is now; `None` until it is known.
pub type Ordered = watch::Receiver<Option<Order>>;

impl Order {
    /// Whether all pods are to be released.
    pub fn is_to_retire(&self) -> bool {
        matches!(self, Self::Retire { .. })
    }

    /// Who asks for the release to retire, if somebody does.
    pub fn asked(&self) -> Option<&str> {
        match self {
            Self::Stay => None,
            Self::Retire { asked } => Some(asked),
        }
    }
}

/// Follows the ConfigMap. Never returns.
///
/// Once the order has been given, only somebody who deletes the ConfigMap of a release that stays takes it back. With a release that goes the
/// ConfigMap goes too, and its pods must not be captured again by agents that have not heard yet that they are to end.
pub async fn run(client: Client, ownership: Ownership, told: watch::Sender<Option<Order>>) {
    let config_maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let (seen, mut orders) = watch::channel(None);
    let following = follow(config_maps, RETIRING, |map| {
        seen.send_replace(Some(order(map.object().as_ref(), &ownership)));
    });
    let telling = async {
        while orders.changed().await.is_ok() {
            let was_to_retire = told.borrow().as_ref().is_some_and(Order::is_to_retire);
            loop {
                let now = orders.borrow_and_update().clone();
                if was_to_retire && now == Some(Order::Stay) {
                    match ownership.stays(&client).await {
                        Ok(true) => {
                            tracing::warn!("ConfigMap {RETIRING} was deleted: pods are captured again")
                        }
                        Ok(false) => break,
                        Err(error) => {
                            tracing::warn!(
                                "whether the release stays is not known, so no pod is captured: {error}"
                            );
                            tokio::time::sleep(RETRIED_AFTER).await;
                            continue;
                        }
                    }
                } else if !was_to_retire && now.as_ref().is_some_and(Order::is_to_retire) {
                    tracing::warn!(
                        "ConfigMap {RETIRING}: the release is to go: all pods are released, and none is captured"
                    );
                }
                told.send_if_modified(|last| {
                    let is_changed = *last != now;
                    *last = now;
                    is_changed
                });
                break;
            }
        }
    };
    tokio::join!(following, telling);
}

fn order(map: Option<&ConfigMap>, ownership: &Ownership) -> Order {
    // One of the release before this one, which is about to go, must not retire this one.
    let map = map.filter(|map| !ownership.is_anothers(map.meta()));
    let asked = map.and_then(|map| map.data.as_ref()?.get(ASKED));
    match asked {
        Some(asked) => Order::Retire { asked: asked.clone() },
        None => Order::Stay,
    }
}

/// What a Job that asks has been told.
#[derive(Debug, Default)]
pub struct Answers {
    told: Option<(String, String)>,
}

impl Answers {
    /// Tells it what is left, where that is not what it was told last. Whether it knows now.
    pub async fn tell(&mut self, client: &Client, ownership: &Ownership, asked: &str, left: &[Left]) -> bool {
        let now = (asked.to_owned(), shown(left));
        if self.told.as_ref() == Some(&now) {
            return true;
        }
        match write(client, ownership, asked, &now.1).await {
            Ok(()) => {
                self.told = Some(now);
                true
            }
            Err(error) => {
                tracing::warn!("ConfigMap {RETIRING}: {error}; who asked is not told what is left");
                false
            }
        }
    }
}

/// From here on the ConfigMap goes with the release. A merge, unlike an apply, does not make it again where somebody has just taken the
/// order back.
async fn write(client: &Client, ownership: &Ownership, asked: &str, left: &str) -> kube::Result<()> {
    let metadata = ownership.metadata(RETIRING);
    let patch = json!({
        "metadata": {"labels": metadata.labels, "ownerReferences": metadata.owner_references},
        "data": {ANSWERED: asked, LEFT: left},
    });
    let config_maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let parameters = PatchParams::default();
    match config_maps
        .patch(RETIRING, &parameters, &Patch::Merge(&patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        written => written.map(|_| ()),
    }
}
