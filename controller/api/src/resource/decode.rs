//! Resources back to a snapshot. What a controller sends is checked as if anybody had sent it: a newer controller may know what we do not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::SecretString;
use weir_ai::Provider;

use super::kind_of;
use crate::names;
use crate::proto::{self, resource::Body};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls, Snapshot};
use crate::types::{Dial, OnUntrusted};

impl Snapshot {
    /// The snapshot of what an agent holds, and which resources are not in it, and why: those are rejected, the others are served.
    /// Resources of other kinds than those that make a snapshot are passed over.
    pub fn from_resources<'a>(
        resources: impl IntoIterator<Item = &'a proto::Resource>,
    ) -> (Self, Vec<proto::Rejection>) {
        let mut backends = Vec::new();
        let mut credentials = HashMap::new();
        let mut rejections = Vec::new();
        for resource in resources {
            match &resource.body {
                Some(Body::Backend(body)) => backends.push((resource, body)),
                Some(Body::Credential(body)) => {
                    credentials.insert(resource.name.as_str(), body);
                }
                Some(Body::Policy(_) | Body::Workload(_) | Body::Leaf(_)) => {}
                None => rejections.push(rejection(
                    resource,
                    "has no body that this agent knows: upgrade the agent".to_owned(),
                )),
            }
        }
        let mut good = Vec::with_capacity(backends.len());
        for (resource, body) in backends {
            match backend(&resource.name, body, &credentials) {
                Ok(backend) => good.push(backend),
                Err(message) => rejections.push(rejection(resource, message)),
            }
        }
        (Self::new(good), rejections)
    }
}

fn rejection(resource: &proto::Resource, message: String) -> proto::Rejection {
    proto::Rejection {
        kind: kind_of(resource).into(),
        name: resource.name.clone(),
        message,
    }
}

fn backend(
    name: &str,
    body: &proto::Backend,
    credentials: &HashMap<&str, &proto::Credential>,
) -> Result<Backend, String> {
    if name != format!("{}/{}", body.namespace, body.name) {
        return Err(format!(
            "is named so, but says that it is {}/{}",
            body.namespace, body.name
        ));
    }
    let provider = Provider::from_field(&body.provider).ok_or_else(|| {
        format!(
            "provider: this agent does not know `{}`: upgrade the agent",
            body.provider
        )
    })?;
    if body.hosts.is_empty() {
        return Err("hosts: names none".to_owned());
    }
    for host in &body.hosts {
        if let Some(problem) = names::host(host) {
            return Err(format!("hosts: `{host}` {problem}"));
        }
    }
    let auth = match &body.auth {
        Some(proto::backend::Auth::Passthrough(_)) => Auth::Passthrough,
        Some(proto::backend::Auth::Credential(name)) => auth(name, credentials)?,
        None => return Err("auth: none that this agent knows: upgrade the agent".to_owned()),
    };
    let allowed = body.allowed_namespaces.clone().unwrap_or_default();
    Ok(Backend {
        name: body.name.clone(),
        namespace: body.namespace.clone(),
        provider,
        hosts: body.hosts.clone(),
        auth,
        endpoint: body.endpoint.as_ref().map(endpoint).transpose()?,
        allowed_namespaces: match allowed.all {
            true => AllowedNamespaces::All,
            false => AllowedNamespaces::Named(allowed.names.into_iter().collect()),
        },
        dial: match body.dial() {
            proto::Dial::Pod => Dial::Pod,
            proto::Dial::Node => Dial::Node,
            proto::Dial::Unspecified => return Err(unknown("dial", body.dial)),
        },
        on_untrusted: match body.on_untrusted() {
            proto::OnUntrusted::Relay => OnUntrusted::Relay,
            proto::OnUntrusted::Refuse => OnUntrusted::Refuse,
            proto::OnUntrusted::Unspecified => return Err(unknown("on_untrusted", body.on_untrusted)),
        },
    })
}

fn unknown(field: &str, value: i32) -> String {
    format!("{field}: this agent does not know {value}: upgrade the agent")
}

/// A credential that was not sent is no reason to let the backend's traffic pass by: requests are answered with why there is no key.
fn auth(name: &str, credentials: &HashMap<&str, &proto::Credential>) -> Result<Auth, String> {
    let Some(credential) = credentials.get(name) else {
        return Ok(Auth::Unresolved(format!(
            "the controller has not sent the credential {name} yet"
        )));
    };
    match &credential.state {
        Some(proto::credential::State::Key(key))
            if key.bytes().all(|byte| byte.is_ascii_graphic()) && !key.is_empty() =>
        {
            Ok(Auth::Key(SecretString::from(key.as_str())))
        }
        Some(proto::credential::State::Key(_)) => Ok(Auth::Unresolved(format!(
            "the credential {name} is not one word of visible ASCII"
        ))),
        Some(proto::credential::State::Unresolved(why)) => Ok(Auth::Unresolved(why.clone())),
        None => Err(format!(
            "auth: the credential {name} has no state that this agent knows: upgrade the agent"
        )),
    }
}

fn endpoint(body: &proto::Endpoint) -> Result<BackendEndpoint, String> {
    name_or_address("endpoint.host", &body.host)?;
    let port = u16::try_from(body.port).ok().filter(|port| *port != 0);
    let tls = match &body.tls {
        Some(proto::endpoint::Tls::Plaintext(_)) => EndpointTls::Plaintext,
        Some(proto::endpoint::Tls::Verify(verify)) => EndpointTls::Verify {
            server_name: some(&verify.server_name),
            authorities: (!verify.authorities.is_empty()).then(|| Arc::from(verify.authorities.as_slice())),
        },
        None => return Err("endpoint.tls: none that this agent knows: upgrade the agent".to_owned()),
    };
    if let EndpointTls::Verify {
        server_name: Some(name),
        ..
    } = &tls
    {
        name_or_address("endpoint.tls.server_name", name)?;
    }
    if !body.path_prefix.is_empty() && (!body.path_prefix.starts_with('/') || body.path_prefix.ends_with('/'))
    {
        return Err("endpoint.path_prefix: must begin with `/`, and not end with one".to_owned());
    }
    Ok(BackendEndpoint {
        host: body.host.clone(),
        port: port.ok_or_else(|| format!("endpoint.port: {} is no TCP port", body.port))?,
        path_prefix: some(&body.path_prefix),
        tls,
    })
}

fn name_or_address(field: &str, name: &str) -> Result<(), String> {
    match names::host(name) {
        Some(problem) if name.parse::<IpAddr>().is_err() => Err(format!("{field}: `{name}` {problem}")),
        _ => Ok(()),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
