//! What one node's agent is given: its pods, and only what those may use. This is where it is decided who gets which key.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use weir_api::proto;
use weir_api::proto::backend::Auth;
use weir_api::proto::resource::Body;

use crate::configuration::Configuration;

/// A resource's kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind, as [`proto::Kind`] numbers it.
    pub kind: i32,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of a kind and a name.
    pub fn new(kind: proto::Kind, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }
}

/// All that an agent is to hold.
pub type Resources = BTreeMap<Key, Arc<proto::Resource>>;

/// What the agent of a node that runs `workloads` is to hold.
///
/// A workload that is only observed, or that does not trust our root (which is the same until it restarts), uses no backend: for it
/// there is neither key nor certificate on the node, and of backends no more than the hosts that they answer for.
///
/// Of the policies that target something, a node is told of those that can bind a call from there: one binds only where it stands in the namespace of the
/// backend or of the workload. The others are nobody's business there: neither what they say, nor whether the node's agent takes them.
pub fn assemble(configuration: &Configuration, workloads: &[Arc<proto::Resource>], runs: Runs) -> Resources {
    let mut served = BTreeSet::new();
    let mut observed = BTreeSet::new();
    for workload in workloads.iter().filter_map(|resource| workload(resource)) {
        match is_served(workload) {
            true => served.insert(workload.namespace.as_str()),
            false => observed.insert(workload.namespace.as_str()),
        };
    }
    let own = Own::of(configuration);
    let used: Vec<_> = backends(configuration)
        .filter(|(_, backend)| own.is_used_by_any(backend, &served))
        .collect();

    let mut resources = Resources::new();
    let mut put = |kind, resource: Arc<proto::Resource>| {
        resources.insert(Key::new(kind, &resource.name), resource);
    };
    let mut policies = BTreeSet::new();
    for (resource, backend) in &used {
        let binds = |namespace: &str| {
            namespace == backend.namespace
                || runs == Runs::AndMaybeMore
                || (served.contains(namespace) && own.is_used_by(backend, namespace))
        };
        let resource = bound_by(resource, binds);
        policies.extend(policies_of(&resource).iter().cloned());
        put(proto::Kind::Backend, resource);
        if let Some(Auth::Credential(name)) = &backend.auth
            && let Some(credential) = configuration.credentials.get(name)
        {
            put(proto::Kind::Credential, Arc::clone(credential));
        }
        let leaves = backend
            .hosts
            .iter()
            .filter_map(|host| configuration.leaves.get(host));
        leaves.for_each(|leaf| put(proto::Kind::Leaf, Arc::clone(leaf)));
    }
    for resource in workloads {
        let Some(workload) = workload(resource) else {
            continue;
        };
        let uses = |namespace: &str| {
            let mut backends = used.iter().map(|(_, backend)| backend);
            backends
                .any(|backend| backend.namespace == namespace && own.is_used_by(backend, &workload.namespace))
        };
        let resource = bound_by(resource, |namespace| {
            namespace == workload.namespace || uses(namespace)
        });
        if is_served(workload) {
            policies.extend(policies_of(&resource).iter().cloned());
        }
        put(proto::Kind::Workload, resource);
    }
    let policies = policies
        .iter()
        .filter_map(|name| configuration.policies.get(name));
    policies.for_each(|policy| put(proto::Kind::Policy, Arc::clone(policy)));
    for namespace in observed.difference(&served) {
        let coverage = weir_api::resource::resource(*namespace, coverage(configuration, namespace));
        put(proto::Kind::Coverage, Arc::new(coverage));
    }
    resources
}

/// Whether a node runs what is known here and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// It does.
    This,
    /// Its agent serves workloads that this replica has not come across yet: whatever may bind them has to stay.
    AndMaybeMore,
}

/// Whether its connections are opened.
fn is_served(workload: &proto::Workload) -> bool {
    workload.intercept() == proto::Intercept::Enabled && workload.trusts
}

fn workload(resource: &proto::Resource) -> Option<&proto::Workload> {
    match &resource.body {
        Some(Body::Workload(workload)) => Some(workload),
        _ => None,
    }
}

/// The policies that a backend or workload names, as `NAMESPACE/NAME`.
fn policies_of(resource: &proto::Resource) -> &[String] {
    match &resource.body {
        Some(Body::Backend(backend)) => &backend.policies,
        Some(Body::Workload(workload)) => &workload.policies,
        _ => &[],
    }
}

/// A backend or workload with those of its policies whose namespace `binds`: another resource, where some have gone.
fn bound_by(resource: &Arc<proto::Resource>, binds: impl Fn(&str) -> bool) -> Arc<proto::Resource> {
    let is_kept = |policy: &String| {
        policy
            .split_once('/')
            .is_some_and(|(namespace, _)| binds(namespace))
    };
    if policies_of(resource).iter().all(is_kept) {
        return Arc::clone(resource);
    }
    let mut body = resource.body.clone();
    match &mut body {
        Some(Body::Backend(backend)) => backend.policies.retain(is_kept),
        Some(Body::Workload(workload)) => workload.policies.retain(is_kept),
        _ => {}
    }
    match body {
        Some(body) => Arc::new(weir_api::resource::resource(&resource.name, body)),
        None => Arc::clone(resource),
    }
}

/// The same for an agent that is to release all pods. What connections that are open use stays with it until they end.
pub fn without_workloads(mut resources: Resources) -> Resources {
    let workload = i32::from(proto::Kind::Workload);
    resources.retain(|key, _| key.kind != workload);
    resources
}

/// The hosts that backends answer for in a namespace.
fn coverage(configuration: &Configuration, namespace: &str) -> Body {
    let namespaces = BTreeSet::from([namespace]);
    let own = Own::of(configuration);
    let hosts: BTreeSet<String> = backends(configuration)
        .filter(|(_, backend)| own.is_used_by_any(backend, &namespaces))
        .flat_map(|(_, backend)| backend.hosts.iter().cloned())
        .collect();
    Body::Coverage(proto::Coverage {
        hosts: hosts.into_iter().collect(),
    })
}

fn backends(configuration: &Configuration) -> impl Iterator<Item = (&Arc<proto::Resource>, &proto::Backend)> {
    let resources = configuration.backends.values();
    resources.filter_map(|resource| match &resource.body {
        Some(Body::Backend(backend)) => Some((resource, backend)),
        _ => None,
    })
}

/// For which hosts a namespace has a backend of its own, which goes before those for all: namespace and host.
struct Own<'a>(HashSet<(&'a str, &'a str)>);

impl<'a> Own<'a> {
    fn of(configuration: &'a Configuration) -> Self {
        let named = backends(configuration).filter_map(|(_, backend)| {
            let allowed = backend.allowed_namespaces.as_ref()?;
            (!allowed.all).then_some((backend, allowed))
        });
        let each = named.flat_map(|(backend, allowed)| {
            let of_namespace = |name| backend.hosts.iter().map(move |host| (name, host.as_str()));
            allowed.names.iter().map(String::as_str).flat_map(of_namespace)
        });
        Self(each.collect())
    }

    /// Whether a call of `namespace` can come to the backend. One that is for all may be of no use to some.
    fn is_used_by(&self, backend: &proto::Backend, namespace: &str) -> bool {
        match &backend.allowed_namespaces {
            Some(allowed) if allowed.all => {
                let mut hosts = backend.hosts.iter();
                hosts.any(|host| !self.0.contains(&(namespace, host.as_str())))
            }
            Some(allowed) => allowed.names.iter().any(|name| name == namespace),
            None => false,
        }
    }

    /// Whether that of any of `namespaces` can. Of one that none can come to the key is not sent.
    fn is_used_by_any(&self, backend: &proto::Backend, namespaces: &BTreeSet<&str>) -> bool {
        let mut namespaces = namespaces.iter();
        namespaces.any(|namespace| self.is_used_by(backend, namespace))
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
