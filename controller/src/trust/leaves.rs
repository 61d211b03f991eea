//! The leaves that agents are given: one for each host that a backend answers for, renewed at half their life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use weir_api::proto;
use weir_api::proto::resource::Body;

use super::authority::{Authority, AuthorityError};

/// Leaves by host, as resources that are ready to be sent.
pub type LeafResources = BTreeMap<String, Arc<proto::Resource>>;

/// Keeps a leaf for each host.
#[derive(Debug, Default)]
pub struct Leaves {
    leaves: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    resource: Arc<proto::Resource>,
    renew_at: SystemTime,
}

impl Leaves {
    /// A leaf for each of `hosts`, and for no other: those that are there and in the first half of their lives are kept, so that
    /// a change of one host changes nothing for the agents that don't use it.
    pub fn update(
        &mut self,
        root: &Authority,
        hosts: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<LeafResources, AuthorityError> {
        self.leaves
            .retain(|host, kept| hosts.contains(host) && now < kept.renew_at);
        for host in hosts {
            if !self.leaves.contains_key(host) {
                self.leaves.insert(host.clone(), mint(root, host, now)?);
            }
        }
        Ok(self
            .leaves
            .iter()
            .map(|(host, kept)| (host.clone(), Arc::clone(&kept.resource)))
            .collect())
    }

    /// Forgets all: another root signs from now on.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// When [`update`](Self::update) is due again though nothing else has changed.
    pub fn renew_at(&self) -> Option<SystemTime> {
        self.leaves.values().map(|kept| kept.renew_at).min()
    }
}

fn mint(root: &Authority, host: &str, now: SystemTime) -> Result<Kept, AuthorityError> {
    let leaf = root.leaf(host, now)?;
    let (certificate, intermediate) = (leaf.certificate, leaf.intermediate);
    let not_after = certificate
        .not_after
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let body = Body::Leaf(proto::Leaf {
        chain: vec![certificate.certificate.to_vec(), intermediate.to_vec()],
        private_key: certificate.private_key.to_vec(),
        not_after: not_after.as_secs().try_into().unwrap_or(i64::MAX),
    });
    Ok(Kept {
        resource: Arc::new(weir_api::resource::resource(host, body)),
        renew_at: certificate.renew_at,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trust::authority::new_root;

    fn root() -> Authority {
        let new = new_root("Weir root", 1, SystemTime::now()).unwrap();
        Authority::from_pem(new.certificate_pem.as_bytes(), new.key_pem.as_bytes()).unwrap()
    }

    fn hosts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_host_that_comes_or_goes_leaves_the_others_as_they_are() {
        let (root, now) = (root(), SystemTime::now());
        let mut leaves = Leaves::default();
        let one = leaves.update(&root, &hosts(&["a.example"]), now).unwrap();
        let both = leaves
            .update(&root, &hosts(&["a.example", "b.example"]), now)
            .unwrap();
        assert_eq!(one["a.example"].version, both["a.example"].version);
        let other = leaves.update(&root, &hosts(&["b.example"]), now).unwrap();
        assert_eq!(other.keys().collect::<Vec<_>>(), ["b.example"]);
        assert_eq!(other["b.example"].version, both["b.example"].version);
    }

    /// Whatever the other namespaces write: what a pod is shown is as long as its own host makes it, and says nothing of theirs.
    #[test]
    fn a_chain_names_its_own_host_alone_and_does_not_grow() {
        let name = |number: u32| {
            let label = "x".repeat(60);
            format!("host-{number:03}.{label}.{label}.{label}.{label}")
        };
        let hosts: BTreeSet<String> = (0..320).map(name).collect();
        assert!(hosts.iter().all(|host| host.len() == 252));
        let (root, now) = (root(), SystemTime::now());
        let leaves = Leaves::default().update(&root, &hosts, now).unwrap();
        assert_eq!(leaves.len(), 320);
        for (host, resource) in &leaves {
            let Some(Body::Leaf(leaf)) = &resource.body else {
                panic!("no leaf");
            };
            let chain = leaf.chain.concat();
            assert!(chain.len() < 2048, "{}", chain.len());
            let named: Vec<usize> = (0..chain.len())
                .filter(|&at| chain[at..].starts_with(b"host-"))
                .collect();
            assert!(!named.is_empty());
            assert!(named.iter().all(|&at| chain[at..].starts_with(host.as_bytes())));
        }
    }

    #[test]
    fn they_are_renewed_when_they_say_so() {
        let (root, now) = (root(), SystemTime::now());
        let mut leaves = Leaves::default();
        assert_eq!(leaves.renew_at(), None);
        let first = leaves.update(&root, &hosts(&["a.example"]), now).unwrap();
        let due = leaves.renew_at().unwrap();
        let just_before = leaves
            .update(&root, &hosts(&["a.example"]), due - Duration::from_secs(1))
            .unwrap();
        assert_eq!(first["a.example"].version, just_before["a.example"].version);
        let renewed = leaves.update(&root, &hosts(&["a.example"]), due).unwrap();
        assert_ne!(first["a.example"].version, renewed["a.example"].version);
    }
}
