//! What an agent holds of another replica, and this one has not come across.

use std::collections::BTreeSet;

use weir_api::REPLICAS_AGREE_WITHIN;
use weir_api::proto::Kind;

use super::assemble::{Key, Resources};
use super::delta::Held;
use crate::client::READ_WITHIN;
use crate::watch::debounce;

/// What an agent held when it came, and this replica has not come across yet. The replica that gave it may have been ahead of this one: to take
/// it away would let go of a pod that runs. So it stays, for [`REPLICAS_AGREE_WITHIN`].
#[derive(Debug, Default)]
pub(super) struct Unseen(BTreeSet<Key>);

const _: () = assert!(
    REPLICAS_AGREE_WITHIN.as_secs() > READ_WITHIN.as_secs() + debounce::LONGEST.as_secs(),
    "a watch that is cut off is read anew, and what it brings is told"
);

impl Unseen {
    /// Nothing has been looked at yet.
    pub(super) fn of(held: &Held) -> Self {
        Self(held.keys().cloned().collect())
    }

    /// What is wanted has been seen.
    pub(super) fn look_at(&mut self, wanted: &Resources) {
        self.0.retain(|key| !wanted.contains_key(key));
    }

    /// No pod is to be captured, whoever knows of it.
    pub(super) fn forget_workloads(&mut self) {
        self.0.retain(|key| key.kind != i32::from(Kind::Workload));
    }

    /// Whether that stays.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.contains(key)
    }

    /// Whether nothing stays that is not wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
