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
pub fn assemble(configuration: &Configuration, workloads: &[Arc<proto::Resource>]) -> Resources {
    let mut namespaces = BTreeSet::new();
    let mut observed = BTreeSet::new();
    for workload in workloads.iter().filter_map(|resource| workload(resource)) {
        match is_served(workload) {
            true => namespaces.insert(workload.namespace.as_str()),
            false => observed.insert(workload.namespace.as_str()),
        };
    }
    let own = Own::of(configuration);
    let used: Vec<(&Arc<proto::Resource>, &proto::Backend)> = backends(configuration)
        .filter(|(_, backend)| own.is_used_by_any(backend, &namespaces))
        .collect();

    let mut resources = Resources::new();
    let mut policies = BTreeSet::new();
    for resource in workloads {
        let Some(workload) = workload(resource) else {
            continue;
        };
        let can_bind = |namespace: &str| {
            namespace == workload.namespace || used.iter().any(|(_, backend)| backend.namespace == namespace)
        };
        let binding = binding(&workload.policies, can_bind);
        if is_served(workload) {
            policies.extend(binding.iter().cloned());
        }
        let with = |policies| {
            Body::Workload(proto::Workload {
                policies,
                ..workload.clone()
            })
        };
        let resource = bound_by(resource, &workload.policies, binding, with);
        resources.insert(Key::new(proto::Kind::Workload, &resource.name), resource);
    }
    let mut add = |kind, name: &String, all: &BTreeMap<String, Arc<proto::Resource>>| {
        if let Some(resource) = all.get(name) {
            resources.insert(Key::new(kind, name), Arc::clone(resource));
        }
    };
    for (_, backend) in &used {
        if let Some(Auth::Credential(credential)) = &backend.auth {
            add(proto::Kind::Credential, credential, &configuration.credentials);
        }
        for host in &backend.hosts {
            add(proto::Kind::Leaf, host, &configuration.leaves);
        }
    }
    for (resource, backend) in used {
        let can_bind = |namespace: &str| namespace == backend.namespace || namespaces.contains(namespace);
        let binding = binding(&backend.policies, can_bind);
        policies.extend(binding.iter().cloned());
        let with = |policies| {
            Body::Backend(proto::Backend {
                policies,
                ..backend.clone()
            })
        };
        let resource = bound_by(resource, &backend.policies, binding, with);
        resources.insert(Key::new(proto::Kind::Backend, &resource.name), resource);
    }
    for policy in policies {
        if let Some(resource) = configuration.policies.get(&policy) {
            resources.insert(Key::new(proto::Kind::Policy, policy), Arc::clone(resource));
        }
    }
    for namespace in observed.difference(&namespaces) {
        let coverage = coverage(configuration, namespace);
        let key = Key::new(proto::Kind::Coverage, *namespace);
        resources.insert(key, Arc::new(weir_api::resource::resource(*namespace, coverage)));
    }
    resources
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

/// Of the policies that target something, by `NAMESPACE/NAME`, those that can bind a call from this node: one binds only where it stands in the namespace of
/// the backend or of the workload. The others are nobody's business here: what they say, and whether this node's agent takes them.
fn binding(policies: &[String], can_bind: impl Fn(&str) -> bool) -> Vec<String> {
    let binds = |policy: &&String| {
        policy
            .split_once('/')
            .is_some_and(|(namespace, _)| can_bind(namespace))
    };
    policies.iter().filter(binds).cloned().collect()
}

/// `resource`, or what stands for it on this node, where some of its policies have no business there.
fn bound_by(
    resource: &Arc<proto::Resource>,
    all: &[String],
    binding: Vec<String>,
    with: impl FnOnce(Vec<String>) -> Body,
) -> Arc<proto::Resource> {
    match binding.len() == all.len() {
        true => Arc::clone(resource),
        false => Arc::new(weir_api::resource::resource(&resource.name, with(binding))),
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

    /// Whether a call of any of `namespaces` can come to the backend. One that is for all may be of no use to any: then its key is not sent.
    fn is_used_by_any(&self, backend: &proto::Backend, namespaces: &BTreeSet<&str>) -> bool {
        let reaches = |namespace: &&str| {
            let mut hosts = backend.hosts.iter();
            hosts.any(|host| !self.0.contains(&(*namespace, host.as_str())))
        };
        match &backend.allowed_namespaces {
            Some(allowed) if allowed.all => namespaces.iter().any(reaches),
            Some(allowed) => {
                let mut names = allowed.names.iter();
                names.any(|name| namespaces.contains(name.as_str()))
            }
            None => false,
        }
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
