//! What an agent serves from: one immutable, complete configuration.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use secrecy::SecretString;
use weir_ai::Provider;

use crate::policy::{EffectivePolicy, Policy, WorkloadIdentity};
use crate::types::{Dial, FailurePolicy, OnUntrusted};

/// One immutable, complete configuration. It is replaced whole, never changed.
#[derive(Debug, Default)]
pub struct Snapshot {
    backends: Vec<Arc<Backend>>,
    hosts: BTreeSet<String>,
    /// Backends that every namespace may use, by host.
    everywhere: HashMap<String, Arc<Backend>>,
    /// Backends that some namespaces alone may use, by namespace, then host. There these go before those for every namespace.
    /// Two maps rather than one keyed by a pair: a `(String, String)` key cannot be looked up by two `&str` without allocating.
    in_namespace: HashMap<String, HashMap<String, Arc<Backend>>>,
    /// The older first.
    policies: Vec<Arc<Policy>>,
    /// The policies that target a workload whose connections are opened, by its uid, where the controller has found them.
    of_workloads: HashMap<String, Vec<Arc<Policy>>>,
    /// Hosts of backends that are not here, for their namespaces are only observed.
    covered: HashMap<String, BTreeSet<String>>,
    /// What most workloads get: nothing is restricted.
    unrestricted: Arc<EffectivePolicy>,
}

impl Snapshot {
    /// What `weir run` serves from without a file: the hosts of every provider, for every namespace, with the caller's own key.
    pub fn zero_configuration() -> Self {
        let backends = Provider::ALL.iter().map(|&provider| Backend {
            name: provider.field().to_owned(),
            namespace: crate::DEFAULT_NAMESPACE.to_owned(),
            provider,
            hosts: provider.hosts().iter().map(|&host| host.to_owned()).collect(),
            auth: Auth::Passthrough,
            endpoint: None,
            allowed_namespaces: AllowedNamespaces::All,
            dial: Dial::Pod,
            on_untrusted: OnUntrusted::Relay,
            policies: Vec::new(),
        });
        Self::new(backends, Vec::new())
    }

    /// Indexes backends, each of which has the policies that target it, and all policies. That no two are for one host and the same callers is for the caller to have checked: here the later one wins.
    pub(crate) fn new(backends: impl IntoIterator<Item = Backend>, policies: Vec<Arc<Policy>>) -> Self {
        let mut snapshot = Self {
            policies,
            ..Self::default()
        };
        for backend in backends.into_iter().map(Arc::new) {
            let Self {
                everywhere,
                in_namespace,
                hosts,
                ..
            } = &mut snapshot;
            let answer_in = |index: &mut HashMap<String, Arc<Backend>>| {
                let hosts = backend.hosts.iter();
                index.extend(hosts.map(|host| (host.clone(), Arc::clone(&backend))));
            };
            match &backend.allowed_namespaces {
                AllowedNamespaces::All => answer_in(everywhere),
                AllowedNamespaces::Named(names) => {
                    for name in names {
                        answer_in(in_namespace.entry(name.clone()).or_default());
                    }
                }
            }
            hosts.extend(backend.hosts.iter().cloned());
            snapshot.backends.push(backend);
        }
        snapshot
    }

    /// The backend that answers for `host` (lower-case, no port) to a workload of `namespace`. Does not allocate.
    pub fn backend(&self, namespace: &str, host: &str) -> Option<&Arc<Backend>> {
        self.in_namespace
            .get(namespace)
            .and_then(|hosts| hosts.get(host))
            .or_else(|| self.everywhere.get(host))
    }

    /// The hosts for which `backend` answers to workloads of `namespace`: none where they may not use it, and none for which a backend of their own does.
    pub fn hosts_of<'a>(
        &'a self,
        backend: &'a Backend,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a String> {
        let answers =
            |found: &Arc<Backend>| found.namespace == backend.namespace && found.name == backend.name;
        backend
            .hosts
            .iter()
            .filter(move |host| self.backend(namespace, host).is_some_and(answers))
    }

    /// Whether some backend answers for `host` (lower-case, no port) to workloads of `namespace`, also where it is not here because they
    /// are only observed. Does not allocate.
    pub fn covers(&self, namespace: &str, host: &str) -> bool {
        let elsewhere = || {
            self.covered
                .get(namespace)
                .is_some_and(|hosts| hosts.contains(host))
        };
        self.backend(namespace, host).is_some() || elsewhere()
    }

    /// The hosts of backends that are not here, in order: those that answer to a `namespace` which is only observed.
    pub fn covered(&self, namespace: &str) -> impl Iterator<Item = &str> {
        self.covered
            .get(namespace)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// With the hosts of backends that are not here, by the namespaces that they answer to.
    pub(crate) fn with_coverage(mut self, covered: HashMap<String, BTreeSet<String>>) -> Self {
        self.covered = covered;
        self
    }

    /// With the policies that target workloads whose connections are opened, by their uids, as the controller has found them.
    pub(crate) fn with_workloads(mut self, of_workloads: HashMap<String, Vec<Arc<Policy>>>) -> Self {
        self.of_workloads = of_workloads;
        self
    }

    /// What all policies together mean for the workload's use of the backend. For whoever keeps it as long as it keeps the backend: it is put together
    /// at each call, unless nothing is restricted.
    ///
    /// Policies count that target the backend or the workload, and stand in the namespace of either.
    pub fn policy(&self, backend: &Backend, workload: &WorkloadIdentity) -> Arc<EffectivePolicy> {
        let may_bind = |policy: &&Arc<Policy>| {
            policy.namespace == backend.namespace || policy.namespace == workload.namespace
        };
        let mut applying: Vec<Arc<Policy>> = Vec::new();
        for policy in backend
            .policies
            .iter()
            .chain(self.targeting(workload))
            .filter(may_bind)
        {
            let is_it =
                |other: &Arc<Policy>| other.namespace == policy.namespace && other.name == policy.name;
            if !applying.iter().any(is_it) {
                applying.push(Arc::clone(policy));
            }
        }
        if applying.is_empty() {
            return Arc::clone(&self.unrestricted);
        }
        applying.sort_by_key(|policy| policy.namespace != backend.namespace);
        Arc::new(EffectivePolicy::new(applying))
    }

    /// Whether connections of the workload with this uid are opened, so that [`policy`](Self::policy) says what binds it. One that the controller does not
    /// name (any more) is bound by nothing that is known here. A workload without a uid is not the controller's to name. Does not allocate.
    pub fn intercepts(&self, uid: Option<&str>) -> bool {
        uid.is_none_or(|uid| self.of_workloads.contains_key(uid))
    }

    /// The policies that target the workload itself, the older first: for the controller, which knows labels.
    pub fn targeting<'a>(&'a self, workload: &'a WorkloadIdentity) -> impl Iterator<Item = &'a Arc<Policy>> {
        let found = workload.uid.as_ref().and_then(|uid| self.of_workloads.get(uid));
        let own = match found {
            Some(_) => &[],
            None => self.policies.as_slice(),
        };
        let targets = own.iter().filter(|policy| policy.targets(workload));
        found.into_iter().flatten().chain(targets)
    }

    /// What becomes of the workload's connections while its agent is away, where a policy of its own namespace says so.
    pub fn failure_policy(&self, workload: &WorkloadIdentity) -> Option<FailurePolicy> {
        self.targeting(workload)
            .filter(|policy| policy.namespace == workload.namespace)
            .find_map(|policy| policy.failure_policy)
    }

    /// All policies, the older first.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// All backends, in the order they were written in.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Every host that some backend answers for, each once, sorted.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }
}

/// A provider, the hosts it answers for, and how to authenticate to it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Whose dialect is spoken.
    pub provider: Provider,
    /// The hosts that apps dial: lower-case DNS names, without a port. Never empty.
    pub hosts: Vec<String>,
    /// Whose key goes upstream.
    pub auth: Auth,
    /// Where to send instead of the original destination.
    pub endpoint: Option<BackendEndpoint>,
    /// Who may use it.
    pub allowed_namespaces: AllowedNamespaces,
    /// Where upstream is dialled from.
    pub dial: Dial,
    /// What becomes of the next connection of a client that rejected our leaf.
    pub on_untrusted: OnUntrusted,
    /// The policies that target it: those of its own namespace first, and of these the older.
    pub policies: Vec<Arc<Policy>>,
}

/// Who may use a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNamespaces {
    /// All workloads.
    All,
    /// Workloads of these namespaces.
    Named(BTreeSet<String>),
}

impl AllowedNamespaces {
    /// Workloads of that one namespace.
    pub fn only(namespace: &str) -> Self {
        Self::Named(BTreeSet::from([namespace.to_owned()]))
    }

    /// Whether workloads of `namespace` may use it.
    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(namespace),
        }
    }
}

/// Whose key goes upstream.
#[derive(Debug, Clone)]
pub enum Auth {
    /// The caller's own.
    Passthrough,
    /// Weir's: a bare key of visible ASCII, without "Bearer ".
    Key(SecretString),
    /// There should be one, but it cannot be had. Why, with the object, the key and the mend: for a log or a condition.
    /// A file never gives this (there it is a [`Problem`](crate::Problem), and the last good configuration stays);
    /// a controller does, for a Secret that was deleted in use.
    Unresolved(String),
}

/// Where to send instead of the original destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendEndpoint {
    /// A DNS name or an IP address (IPv6 without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Put before the request's path. Begins with `/` and does not end with one.
    pub path_prefix: Option<String>,
    /// How it is spoken to.
    pub tls: EndpointTls,
}

/// How an endpoint is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointTls {
    /// Plain HTTP.
    Plaintext,
    /// TLS whose certificate is verified. There is no unverified TLS.
    Verify {
        /// The name that the certificate must have and that SNI says; `None`: the endpoint's host.
        server_name: Option<String>,
        /// Certificate authorities as PEM, at least one; `None`: the public roots.
        authorities: Option<Arc<[u8]>>,
    },
}
