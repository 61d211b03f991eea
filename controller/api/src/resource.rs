//! The configuration on the wire: a [`Snapshot`](crate::Snapshot) as resources, each by its name and its content's hash, and back.

mod decode;

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::policy::{Glob, Policy};
use crate::proto::{self, resource::Body};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls};
use crate::types::{Dial, OnUntrusted, Operation};

/// The version of a resource: the SHA-256 of its body's encoding, in hexadecimal. Equal bodies have equal versions.
pub fn version_of(body: &Body) -> String {
    // As a resource which has nothing else is encoded. Wiped, for it may be a key.
    let mut encoded = Zeroizing::new(Vec::with_capacity(body.encoded_len()));
    body.encode(&mut *encoded);
    let mut version = String::with_capacity(64);
    for byte in Sha256::digest(encoded.as_slice()) {
        let _ = write!(version, "{byte:02x}"); // writing to a String cannot fail
    }
    version
}

/// A resource of that name, with its version.
pub fn resource(name: impl Into<String>, body: Body) -> proto::Resource {
    proto::Resource {
        name: name.into(),
        version: version_of(&body),
        body: Some(body),
    }
}

/// Of which kind a resource is; unspecified where it has no body.
pub fn kind_of(resource: &proto::Resource) -> proto::Kind {
    match &resource.body {
        None => proto::Kind::Unspecified,
        Some(Body::Backend(_)) => proto::Kind::Backend,
        Some(Body::Policy(_)) => proto::Kind::Policy,
        Some(Body::Workload(_)) => proto::Kind::Workload,
        Some(Body::Credential(_)) => proto::Kind::Credential,
        Some(Body::Leaf(_)) => proto::Kind::Leaf,
        Some(Body::Coverage(_)) => proto::Kind::Coverage,
    }
}

/// The resource of a backend.
pub fn backend(backend: &Backend) -> proto::Resource {
    let name = name_of(backend);
    // Destructured, so that a field which is added to a backend cannot be forgotten here.
    let Backend {
        name: _,
        namespace: _,
        provider,
        hosts,
        auth,
        endpoint,
        allowed_namespaces,
        dial,
        on_untrusted,
        policies,
    } = backend;
    let auth = match auth {
        Auth::Passthrough => proto::backend::Auth::Passthrough(proto::Empty {}),
        Auth::Key(_) | Auth::Unresolved(_) => proto::backend::Auth::Credential(name.clone()),
    };
    let allowed_namespaces = match allowed_namespaces {
        AllowedNamespaces::All => proto::AllowedNamespaces {
            all: true,
            names: Vec::new(),
        },
        AllowedNamespaces::Named(names) => proto::AllowedNamespaces {
            all: false,
            names: names.iter().cloned().collect(),
        },
    };
    let dial = match dial {
        Dial::Pod => proto::Dial::Pod,
        Dial::Node => proto::Dial::Node,
    };
    let on_untrusted = match on_untrusted {
        OnUntrusted::Relay => proto::OnUntrusted::Relay,
        OnUntrusted::Refuse => proto::OnUntrusted::Refuse,
    };
    let body = proto::Backend {
        namespace: backend.namespace.clone(),
        name: backend.name.clone(),
        provider: provider.field().to_owned(),
        hosts: hosts.clone(),
        auth: Some(auth),
        endpoint: endpoint.as_ref().map(endpoint_message),
        allowed_namespaces: Some(allowed_namespaces),
        dial: dial.into(),
        on_untrusted: on_untrusted.into(),
        policies: policies.iter().map(|policy| policy_name(policy)).collect(),
    };
    resource(name, Body::Backend(body))
}

/// The resource of a backend's key, or of why there is none; `None` where it has no key of ours. Its name is the backend's.
pub fn credential(backend: &Backend) -> Option<proto::Resource> {
    let state = match &backend.auth {
        Auth::Passthrough => return None,
        Auth::Key(key) => proto::credential::State::Key(key.expose_secret().to_owned()),
        Auth::Unresolved(why) => proto::credential::State::Unresolved(why.clone()),
    };
    let body = proto::Credential { state: Some(state) };
    Some(resource(name_of(backend), Body::Credential(body)))
}

/// The resource of a policy.
pub fn policy(policy: &Policy) -> proto::Resource {
    // Destructured, so that a field which is added to a policy cannot be forgotten here.
    let Policy {
        namespace,
        name,
        allowed_models,
        denied_models,
        allowed_operations,
        denied_operations,
        set_headers,
        remove_headers,
        timeouts,
        failure_policy: _,
        workloads: _,
    } = policy;
    let globs = |globs: &[Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    let operations = |operations: &[Operation]| {
        let names = operations.iter().map(|operation| operation.name().to_owned());
        names.collect()
    };
    let milliseconds = |limit: Option<Duration>| {
        limit.map_or(0, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
    };
    let body = proto::Policy {
        namespace: namespace.clone(),
        name: name.clone(),
        allowed_models: globs(allowed_models),
        denied_models: globs(denied_models),
        allowed_operations: operations(allowed_operations),
        denied_operations: operations(denied_operations),
        set_headers: set_headers.iter().map(header_message).collect(),
        remove_headers: remove_headers
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect(),
        timeouts: Some(proto::Timeouts {
            connect_ms: milliseconds(timeouts.connect),
            first_byte_ms: milliseconds(timeouts.first_byte),
            idle_ms: milliseconds(timeouts.idle),
        }),
    };
    resource(policy_name(policy), Body::Policy(body))
}

/// The resource name of a policy, as backends and workloads refer to it.
pub fn policy_name(policy: &Policy) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

fn header_message((name, value): &(HeaderName, HeaderValue)) -> proto::Header {
    proto::Header {
        name: name.as_str().to_owned(),
        // A policy's values are ASCII.
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

fn endpoint_message(endpoint: &BackendEndpoint) -> proto::Endpoint {
    let tls = match &endpoint.tls {
        EndpointTls::Plaintext => proto::endpoint::Tls::Plaintext(proto::Empty {}),
        EndpointTls::Verify {
            server_name,
            authorities,
        } => proto::endpoint::Tls::Verify(proto::Verify {
            server_name: server_name.clone().unwrap_or_default(),
            authorities: authorities.as_deref().unwrap_or_default().to_vec(),
        }),
    };
    proto::Endpoint {
        host: endpoint.host.clone(),
        port: endpoint.port.into(),
        path_prefix: endpoint.path_prefix.clone().unwrap_or_default(),
        tls: Some(tls),
    }
}

fn name_of(backend: &Backend) -> String {
    format!("{}/{}", backend.namespace, backend.name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests;
