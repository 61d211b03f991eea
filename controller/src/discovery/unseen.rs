//! What an agent holds of another replica, and this one has not come across.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_api::REPLICAS_AGREE_WITHIN;
use weir_api::proto::{self, Kind};

use super::assemble::{Key, Resources, Runs};
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

    /// What the node runs, to go by these workloads and what is not seen yet.
    pub(super) fn runs(&self, workloads: &[Arc<proto::Resource>]) -> Runs {
        let known: BTreeSet<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        let is_more = |key: &Key| key.kind == i32::from(Kind::Workload) && !known.contains(key.name.as_str());
        match self.0.iter().any(is_more) {
            true => Runs::AndMaybeMore,
            false => Runs::This,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_run_more_while_a_workload_of_its_agents_is_not_known_here() {
        let workload = |name: &str| Key::new(Kind::Workload, name);
        let of = |keys: &[Key]| Unseen(keys.iter().cloned().collect());
        let known = [Arc::new(proto::Resource {
            name: "known".to_owned(),
            ..proto::Resource::default()
        })];
        assert_eq!(of(&[workload("known")]).runs(&known), Runs::This);
        assert_eq!(
            of(&[workload("known"), workload("younger")]).runs(&known),
            Runs::AndMaybeMore
        );
        assert_eq!(of(&[Key::new(Kind::Policy, "younger")]).runs(&known), Runs::This);
        assert_eq!(Unseen::default().runs(&known), Runs::This);
    }
}
