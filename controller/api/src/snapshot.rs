//! What an agent serves from: one immutable, complete configuration.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use secrecy::SecretString;
use weir_ai::Provider;

use crate::types::{Dial, OnUntrusted};

/// One immutable, complete configuration. It is replaced whole, never changed.
#[derive(Debug, Default)]
pub struct Snapshot {
    backends: Vec<Arc<Backend>>,
    hosts: BTreeSet<String>,
    /// Backends that every namespace may use, by host.
    everywhere: HashMap<String, Arc<Backend>>,
    /// Backends that some namespaces alone may use, by namespace, then host.
    /// Two maps rather than one keyed by a pair: a `(String, String)` key cannot be looked up by two `&str` without allocating.
    in_namespace: HashMap<String, HashMap<String, Arc<Backend>>>,
}

impl Snapshot {
    /// What `weir run` serves from without a file: the hosts of every provider, for every namespace, with the caller's own key.
    pub fn zero_configuration() -> Self {
        Self::new(Provider::ALL.iter().map(|&provider| Backend {
            name: provider.field().to_owned(),
            namespace: crate::DEFAULT_NAMESPACE.to_owned(),
            provider,
            hosts: provider.hosts().iter().map(|&host| host.to_owned()).collect(),
            auth: Auth::Passthrough,
            endpoint: None,
            allowed_namespaces: AllowedNamespaces::All,
            dial: Dial::Pod,
            on_untrusted: OnUntrusted::Relay,
        }))
    }

    /// Indexes backends. That no namespace sees two backends for one host is for the caller to have checked: here the later one wins.
    pub(crate) fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        let mut snapshot = Self::default();
        for backend in backends.into_iter().map(Arc::new) {
            let Self {
                everywhere,
                in_namespace,
                hosts,
                ..
            } = &mut snapshot;
            let indexes: Vec<&mut HashMap<String, Arc<Backend>>> = match &backend.allowed_namespaces {
                AllowedNamespaces::All => vec![everywhere],
                AllowedNamespaces::Named(names) => {
                    for name in names {
                        in_namespace.entry(name.clone()).or_default();
                    }
                    let may_use = |(namespace, index)| names.contains(namespace).then_some(index);
                    in_namespace.iter_mut().filter_map(may_use).collect()
                }
            };
            for index in indexes {
                for host in &backend.hosts {
                    index.insert(host.clone(), Arc::clone(&backend));
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
    /// Whence upstream is dialled.
    pub dial: Dial,
    /// What becomes of the next connection of a client that rejected our leaf.
    pub on_untrusted: OnUntrusted,
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
