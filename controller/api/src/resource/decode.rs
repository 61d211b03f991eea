//! Resources back to a snapshot. What a controller sends is checked as if anybody had sent it: a newer controller may know what we do not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use weir_ai::Provider;

use super::{kind_of, policy_name};
use crate::names;
use crate::policy::{Glob, Policy, Timeouts};
use crate::proto::{self, resource::Body};
use crate::snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls, Snapshot};
use crate::types::{Dial, KEPT_HEADERS, OnUntrusted, Operation};

impl Snapshot {
    /// The snapshot of what an agent holds, and which resources are not in it, and why: those are rejected, the others are served.
    /// Resources of other kinds than those that make a snapshot are passed over.
    pub fn from_resources<'a>(
        resources: impl IntoIterator<Item = &'a proto::Resource>,
    ) -> (Self, Vec<proto::Rejection>) {
        let mut backends = Vec::new();
        let mut credentials = HashMap::new();
        let mut policies = Vec::new();
        let mut workloads = Vec::new();
        let mut covered = HashMap::new();
        let mut rejections = Vec::new();
        for resource in resources {
            match &resource.body {
                Some(Body::Backend(body)) => backends.push((resource, body)),
                Some(Body::Credential(body)) => {
                    credentials.insert(resource.name.as_str(), body);
                }
                Some(Body::Policy(body)) => match policy(&resource.name, body) {
                    Ok(policy) => policies.push(Arc::new(policy)),
                    Err(message) => rejections.push(rejection(resource, message)),
                },
                Some(Body::Workload(body)) => workloads.push((resource, body)),
                Some(Body::Leaf(_)) => {}
                Some(Body::Coverage(body)) => {
                    covered.insert(resource.name.clone(), body.hosts.iter().cloned().collect());
                }
                None => {
                    let message = "has no body that this agent knows: upgrade the agent";
                    rejections.push(rejection(resource, message.to_owned()));
                }
            }
        }
        let by_name: HashMap<String, Arc<Policy>> = policies
            .iter()
            .map(|policy| (policy_name(policy), Arc::clone(policy)))
            .collect();
        let mut good = Vec::with_capacity(backends.len());
        for (resource, body) in backends {
            let backend = backend(&resource.name, body, &credentials).and_then(|mut backend| {
                backend.policies = named(&by_name, &body.policies)?;
                Ok(backend)
            });
            match backend {
                Ok(backend) => good.push(backend),
                Err(message) => rejections.push(rejection(resource, message)),
            }
        }
        let mut of_workloads = HashMap::new();
        for (resource, body) in workloads {
            match named(&by_name, &body.policies) {
                Ok(policies) => {
                    if body.intercept() == proto::Intercept::Enabled && body.trusts {
                        of_workloads.insert(resource.name.clone(), policies);
                    }
                }
                Err(message) => rejections.push(rejection(resource, message)),
            }
        }
        let snapshot = Self::new(good, policies)
            .with_workloads(of_workloads)
            .with_coverage(covered);
        (snapshot, rejections)
    }
}

/// Of those that are named, none may be missing: whoever names a policy is not served without it.
fn named(policies: &HashMap<String, Arc<Policy>>, names: &[String]) -> Result<Vec<Arc<Policy>>, String> {
    let each = names.iter().map(|name| {
        let policy = policies.get(name).cloned();
        policy.ok_or_else(|| format!("policies: {name} was not sent, or is rejected itself"))
    });
    each.collect()
}

fn policy(name: &str, body: &proto::Policy) -> Result<Policy, String> {
    if name != format!("{}/{}", body.namespace, body.name) {
        return Err(format!(
            "is named so, but says that it is {}/{}",
            body.namespace, body.name
        ));
    }
    let globs = |field: &str, patterns: &[String]| -> Result<Vec<Glob>, String> {
        let each = patterns.iter();
        each.map(|pattern| Glob::new(pattern).map_err(|problem| format!("{field}: `{pattern}` {problem}")))
            .collect()
    };
    let operations = |field: &str, names: &[String]| -> Result<Vec<Operation>, String> {
        let each = names.iter();
        each.map(|name| {
            Operation::from_name(name)
                .ok_or_else(|| format!("{field}: this agent does not know `{name}`: upgrade the agent"))
        })
        .collect()
    };
    let timeouts = body.timeouts.unwrap_or_default();
    let limit = |milliseconds: u64| (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
    Ok(Policy {
        namespace: body.namespace.clone(),
        name: body.name.clone(),
        allowed_models: globs("allowed_models", &body.allowed_models)?,
        denied_models: globs("denied_models", &body.denied_models)?,
        allowed_operations: operations("allowed_operations", &body.allowed_operations)?,
        denied_operations: operations("denied_operations", &body.denied_operations)?,
        set_headers: body
            .set_headers
            .iter()
            .map(set_header)
            .collect::<Result<_, _>>()?,
        remove_headers: body
            .remove_headers
            .iter()
            .map(|name| header_name(name))
            .collect::<Result<_, _>>()?,
        timeouts: Timeouts {
            connect: limit(timeouts.connect_ms),
            first_byte: limit(timeouts.first_byte_ms),
            idle: limit(timeouts.idle_ms),
        },
        ..Policy::default()
    })
}

fn set_header(header: &proto::Header) -> Result<(HeaderName, HeaderValue), String> {
    let value = HeaderValue::from_str(&header.value).map_err(|_| {
        format!(
            "set_headers: the value of `{}` is not one that a header may have",
            header.name
        )
    })?;
    Ok((header_name(&header.name)?, value))
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    match HeaderName::try_from(name) {
        Ok(name) if !KEPT_HEADERS.contains(&name.as_str()) => Ok(name),
        _ => Err(format!("headers: `{name}` is not one that a policy may touch")),
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
        policies: Vec::new(),
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
