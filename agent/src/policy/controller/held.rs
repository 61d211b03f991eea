//! What the agent holds of the controller's configuration. It outlives streams: a new one begins where the last ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use weir_api::proto::{self, resource::Body};
use weir_api::{Snapshot, resource};

use super::leaves;
use super::workloads::{self, ObservedWhy, PodWorkload, Treatment, Workloads};
use crate::capture::pods::PodUid;

/// One consistent configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) snapshot: Snapshot,
    pub(super) workloads: Workloads,
    pub(super) leaves: HashMap<String, Arc<CertifiedKey>>,
    pub(super) release_all: bool,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    resources: BTreeMap<(proto::Kind, String), Entry>,
    /// Nothing is missing of the last change, which may come in several messages.
    whole: bool,
    /// No pod is to be captured, whoever captured it.
    release_all: bool,
}

#[derive(Debug)]
struct Entry {
    version: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// What a snapshot is made of.
    Resource(Box<proto::Resource>),
    /// The same, for it says which policies target the pod; and what else it says.
    Workload(Box<proto::Resource>, PodUid, PodWorkload),
    /// The same, for the next agent; and ready to be used.
    Leaf(Box<proto::Resource>, Arc<CertifiedKey>),
}

impl Held {
    /// What another agent held when it [gave](Self::all) it. `None` if any of it is rejected: an older agent may not know what a
    /// newer one held.
    pub(super) fn inherited(mut configuration: proto::Delta) -> Option<Self> {
        let mut held = Self::default();
        held.apply(&mut configuration).is_empty().then_some(held)
    }

    /// All that is held, keys included. `None` if it is not whole.
    pub(super) fn all(&self) -> Option<proto::Delta> {
        let resource = |entry: &Entry| match &entry.content {
            Content::Resource(resource) | Content::Workload(resource, _, _) | Content::Leaf(resource, _) => {
                resource.as_ref().clone()
            }
        };
        self.whole.then(|| proto::Delta {
            upserts: self.resources.values().map(resource).collect(),
            snapshot_done: true,
            ..proto::Delta::default()
        })
    }

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
        self.whole = delta.snapshot_done;
        self.release_all = delta.release_all;
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
                Content::Resource(resource) => resources.push(resource.as_ref()),
                Content::Workload(resource, uid, workload) => {
                    resources.push(resource.as_ref());
                    workloads.insert(uid.clone(), workload.clone());
                }
                Content::Leaf(_, leaf) => {
                    leaves.insert(name.clone(), Arc::clone(leaf));
                }
            }
        }
        let (snapshot, rejections) = Snapshot::from_resources(resources);
        let of_workloads = rejections
            .iter()
            .filter(|rejection| rejection.kind() == proto::Kind::Workload);
        for rejection in of_workloads {
            // Captured as before, so that under Closed it is not let out; but not served without its policies.
            if let Some(workload) = PodUid::parse(&rejection.name).and_then(|uid| workloads.get_mut(&uid)) {
                workload.treatment = Treatment::Observed(ObservedWhy::Policy);
            }
        }
        let configuration = Configuration {
            snapshot,
            workloads,
            leaves,
            release_all: self.release_all,
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
                .map(|(uid, workload)| Self::Workload(Box::new(resource.clone()), uid, workload)),
            Body::Leaf(leaf) => {
                leaves::certified(leaf).map(|leaf| Self::Leaf(Box::new(resource.clone()), leaf))
            }
            Body::Backend(_) | Body::Policy(_) | Body::Credential(_) | Body::Coverage(_) => {
                let (_, rejections) = Snapshot::from_resources([&without_references(&resource)]);
                match rejections.into_iter().next() {
                    Some(rejection) => Err(rejection.message),
                    None => Ok(Self::Resource(Box::new(resource))),
                }
            }
        }
    }
}

/// A resource as it can be checked by itself: what it refers to may come after it, and is looked for when all has come.
fn without_references(resource: &proto::Resource) -> proto::Resource {
    let mut alone = resource.clone();
    if let Some(Body::Backend(backend)) = &mut alone.body {
        backend.policies.clear();
    }
    alone
}

#[cfg(test)]
mod tests {
    use weir_api::resource::resource;

    use super::*;

    const UID: &str = "0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44";

    fn backend(host: &str, policies: &[&str]) -> proto::Resource {
        let body = proto::Backend {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            provider: "openai".to_owned(),
            hosts: vec![host.to_owned()],
            auth: Some(proto::backend::Auth::Passthrough(proto::Empty {})),
            dial: proto::Dial::Pod.into(),
            on_untrusted: proto::OnUntrusted::Relay.into(),
            policies: policies.iter().map(|&name| name.to_owned()).collect(),
            ..proto::Backend::default()
        };
        resource("a/b", Body::Backend(body))
    }

    fn policy() -> proto::Resource {
        let body = proto::Policy {
            namespace: "a".to_owned(),
            name: "p".to_owned(),
            ..proto::Policy::default()
        };
        resource("a/p", Body::Policy(body))
    }

    fn workload(policies: &[&str]) -> proto::Resource {
        let body = proto::Workload {
            uid: UID.to_owned(),
            intercept: proto::Intercept::Enabled.into(),
            failure_policy: proto::FailurePolicy::Closed.into(),
            trusts: true,
            policies: policies.iter().map(|&name| name.to_owned()).collect(),
            ..proto::Workload::default()
        };
        resource(UID, Body::Workload(body))
    }

    fn upserts(resources: Vec<proto::Resource>) -> proto::Delta {
        proto::Delta {
            upserts: resources,
            ..proto::Delta::default()
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_the_last_good_stays() {
        let mut held = Held::default();
        assert_eq!(held.apply(&mut upserts(vec![backend("one.example", &[])])), []);
        let versions = held.versions();
        let mut forged = backend("two.example", &[]);
        forged.version = versions[0].version.clone();
        let bodiless = proto::Resource {
            name: "a/c".to_owned(),
            ..proto::Resource::default()
        };
        let bad = vec![backend("not a host", &[]), forged, bodiless];
        let messages: Vec<String> = held
            .apply(&mut upserts(bad))
            .into_iter()
            .map(|rejection| rejection.message)
            .collect();
        assert!(messages[0].contains("not a host"), "{messages:?}");
        assert!(messages[1].contains("version"), "{messages:?}");
        assert!(messages[2].contains("upgrade the agent"), "{messages:?}");
        assert_eq!(held.versions(), versions);
        let (configuration, rejections) = held.configuration();
        assert_eq!(rejections, []);
        assert!(
            configuration.snapshot.backend("a", "one.example").is_none(),
            "no namespace may use it"
        );
        assert_eq!(
            configuration.snapshot.hosts().collect::<Vec<_>>(),
            ["one.example"]
        );
    }

    #[test]
    fn a_policy_may_come_after_whoever_names_it() {
        let mut held = Held::default();
        let named = vec![backend("one.example", &["a/p"]), workload(&["a/p"])];
        assert_eq!(held.apply(&mut upserts(named)), []);
        let (incomplete, rejections) = held.configuration();
        assert_eq!(rejections.len(), 2);
        let pod = incomplete
            .workloads
            .values()
            .next()
            .expect("captured all the same");
        assert_eq!(pod.treatment, Treatment::Observed(ObservedWhy::Policy));

        assert_eq!(held.apply(&mut upserts(vec![policy()])), []);
        let (complete, rejections) = held.configuration();
        assert_eq!(rejections, []);
        let pod = complete.workloads.values().next().expect("captured");
        assert_eq!(pod.treatment, Treatment::Intercepted);
    }

    #[test]
    fn the_next_agent_holds_what_this_one_held_if_it_was_whole() {
        let mut held = Held::default();
        assert!(held.all().is_none(), "nothing has come");
        let mut half = upserts(vec![backend("one.example", &["a/p"])]);
        held.apply(&mut half);
        assert!(held.all().is_none(), "more is to come");
        let mut rest = upserts(vec![policy(), workload(&["a/p"])]);
        rest.snapshot_done = true;
        held.apply(&mut rest);
        let all = held.all().expect("it is whole");
        let next = Held::inherited(all.clone()).expect("nothing is rejected");
        assert_eq!(next.versions(), held.versions());
        assert_eq!(next.all(), Some(all.clone()));

        let mut newer = all;
        newer.upserts[0].body = None;
        assert!(Held::inherited(newer).is_none());
    }

    #[test]
    fn what_is_removed_is_held_no_longer() {
        let mut held = Held::default();
        held.apply(&mut upserts(vec![backend("one.example", &[]), workload(&[])]));
        let removal = proto::ResourceName {
            kind: proto::Kind::Workload.into(),
            name: UID.to_owned(),
        };
        let mut delta = proto::Delta {
            removals: vec![removal],
            ..proto::Delta::default()
        };
        assert_eq!(held.apply(&mut delta), []);
        assert_eq!(held.versions().len(), 1);
        assert!(held.configuration().0.workloads.is_empty());
    }
}
