//! What the configuration means for one connection: its route, its credential, its policy.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderName;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use weir_api::{Auth, Backend, BackendEndpoint, Dial, EffectivePolicy, EndpointTls};

use super::Services;
use crate::telemetry::record::Workload;
use crate::upstream::{Address, Route, Security};

/// What a backend and the policies mean for one connection, worked out once and kept until one of them changes.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) backend: Arc<Backend>,
    /// What all policies together say of this workload's use of it.
    pub(super) policy: Arc<EffectivePolicy>,
    /// `namespace/name`.
    pub(super) label: Arc<str>,
    pub(super) route: Arc<Route>,
    /// The host that the server at the end of the route is asked for, where it isn't the one that the app named.
    pub(super) authority: Option<HeaderValue>,
    pub(super) credential: Credential,
    /// Where upstream is dialled from.
    pub(super) dial: Dial,
}

/// What is done about the credential of a request.
#[derive(Debug)]
pub(super) enum Credential {
    /// The caller's own is passed through, unless it is our placeholder.
    Callers,
    /// Ours takes the place of whatever the caller sent. Marked sensitive: Debug does not print it.
    Ours { name: HeaderName, value: HeaderValue },
    /// The backend has one, but it cannot be had; the reason names what to mend.
    Missing(String),
}

impl Prepared {
    pub(super) fn new(
        backend: &Arc<Backend>,
        policy: Arc<EffectivePolicy>,
        workload: &Workload,
        host: &str,
        origin: SocketAddr,
    ) -> Self {
        let (route, authority) = match &backend.endpoint {
            Some(endpoint) => by_endpoint(endpoint),
            None => (by_original_destination(host, origin), None),
        };
        let credential = Credential::of(backend);
        Self {
            backend: Arc::clone(backend),
            policy,
            label: format!("{}/{}", backend.namespace, backend.name).into(),
            dial: dial(backend.dial, &credential, &route.security, workload.uid.is_some()),
            route: Arc::new(route),
            authority,
            credential,
        }
    }
}

fn is_same(one: &Backend, other: &Backend) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}

/// A key of ours that goes out without TLS is not let into a pod's network, where a container that has NET_RAW (as by default) could read it.
fn dial(wanted: Dial, credential: &Credential, security: &Security, is_pod: bool) -> Dial {
    match (credential, security) {
        (Credential::Ours { .. }, Security::Plaintext) if is_pod => Dial::Node,
        _ => wanted,
    }
}

impl Credential {
    fn of(backend: &Backend) -> Self {
        match &backend.auth {
            Auth::Passthrough => Self::Callers,
            Auth::Unresolved(reason) => Self::Missing(reason.clone()),
            Auth::Key(key) => {
                let header = backend.provider.dialect().credential_header();
                match header.value(key.expose_secret()) {
                    Ok(value) => Self::Ours {
                        name: header.name,
                        value,
                    },
                    Err(_) => {
                        Self::Missing("the Secret's value has bytes that no HTTP header may hold".to_owned())
                    }
                }
            }
        }
    }
}

fn by_original_destination(host: &str, origin: SocketAddr) -> Route {
    match ServerName::try_from(host.to_owned()) {
        Ok(server_name) => Route {
            address: Address::Socket(origin),
            security: Security::Tls {
                server_name,
                authorities: None,
            },
        },
        // `translate` takes no host that is not a DNS name.
        Err(_) => unreachable!("a backend's hosts are DNS names"),
    }
}

fn by_endpoint(endpoint: &BackendEndpoint) -> (Route, Option<HeaderValue>) {
    let address = Address::Name {
        host: endpoint.host.clone(),
        port: endpoint.port,
    };
    let (security, name, default_port) = match &endpoint.tls {
        EndpointTls::Plaintext => (Security::Plaintext, &endpoint.host, 80),
        EndpointTls::Verify {
            server_name,
            authorities,
        } => {
            let name = server_name.as_ref().unwrap_or(&endpoint.host);
            let security = Security::Tls {
                server_name: ServerName::try_from(name.clone())
                    .expect("translate checks an endpoint's names"),
                authorities: authorities.clone(),
            };
            (security, name, 443)
        }
    };
    // An IPv6 address stands in brackets there (RFC 3986 §3.2.2).
    let name = if name.contains(':') {
        format!("[{name}]")
    } else {
        name.clone()
    };
    let authority = match endpoint.port {
        port if port == default_port => name,
        port => format!("{name}:{port}"),
    };
    (Route { address, security }, HeaderValue::try_from(authority).ok())
}

/// What the configuration means for a connection as it stands now.
#[derive(Debug)]
pub(super) struct Standing {
    /// The snapshot that it was worked out from.
    generation: u64,
    pub(super) prepared: Arc<Prepared>,
    /// Whether a backend still answers for the host on this connection. Where none does, `prepared` is of the one that did last.
    pub(super) stands: bool,
}

impl Standing {
    /// `backend` is the one that answered for the host when the connection was sorted.
    pub(super) fn new(services: &Services, backend: &Arc<Backend>, host: &str, origin: SocketAddr) -> Self {
        // Read before the snapshot: one that comes in between is looked at once more.
        let generation = services.snapshot.generation();
        let snapshot = services.snapshot.load();
        let workload = &services.workload;
        let of_now = snapshot.backend(&workload.namespace, host);
        let backend = of_now.unwrap_or(backend);
        let policy = snapshot.policy(backend, &workload.identity());
        Self {
            generation,
            prepared: Arc::new(Prepared::new(backend, policy, workload, host, origin)),
            stands: of_now.is_some() && snapshot.intercepts(workload.uid.as_deref()),
        }
    }

    /// Works out anew what has changed since, where the configuration has.
    pub(super) fn renew(&mut self, services: &Services, host: &str, origin: SocketAddr) {
        let generation = services.snapshot.generation();
        if std::mem::replace(&mut self.generation, generation) == generation {
            return;
        }
        let snapshot = services.snapshot.load();
        let workload = &services.workload;
        let is_opened = snapshot.intercepts(workload.uid.as_deref());
        let found = snapshot.backend(&workload.namespace, host);
        let Some(backend) = found.filter(|backend| is_opened || is_same(backend, &self.prepared.backend))
        else {
            self.stands = false;
            return;
        };
        // A pod may be let go of while its connection is still open: it stays bound by what bound it, and to the same backend. Or a label would shed a policy, or
        // come by a key that is bound by others.
        let policy = match is_opened {
            true => snapshot.policy(backend, &workload.identity()),
            false => Arc::clone(&self.prepared.policy),
        };
        self.stands |= is_opened;
        if !Arc::ptr_eq(&self.prepared.backend, backend) || self.prepared.policy != policy {
            self.prepared = Arc::new(Prepared::new(backend, policy, workload, host, origin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_out_in_plaintext_from_no_pod() {
        let ours = Credential::Ours {
            name: http::header::AUTHORIZATION,
            value: HeaderValue::from_static("Bearer k"),
        };
        let tls = Security::Tls {
            server_name: ServerName::try_from("a.example").expect("a name"),
            authorities: None,
        };
        let plaintext = Security::Plaintext;
        for (credential, security, is_pod, expected) in [
            (&ours, &plaintext, true, Dial::Node),
            (&ours, &plaintext, false, Dial::Pod),
            (&ours, &tls, true, Dial::Pod),
            (&Credential::Callers, &plaintext, true, Dial::Pod),
        ] {
            assert_eq!(dial(Dial::Pod, credential, security, is_pod), expected);
        }
        assert_eq!(dial(Dial::Node, &ours, &tls, true), Dial::Node);
    }
}
