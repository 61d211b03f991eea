//! Whether a request may go on, and as what: its host, its operation, its credential, its headers.

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Uri};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use weir_ai::{Dialect, Endpoint};

use super::Connection;
use super::headers::{self, HeaderChanges};
use super::host;
use super::prepared::{Credential, Prepared};
use super::refusal::Refusal;
use super::request_body::Body;
use super::unread::{self, Refused, Unread};
use crate::trust::is_placeholder;

/// The longest request head.
pub(crate) const MOST_HEAD_BYTES: usize = 64 * 1024;

/// A request that may go on.
pub(super) struct Admission {
    /// Its head as it goes upstream.
    pub(super) request: Parts,
    pub(super) body: Body,
    /// The client's side of a protocol switch, where it asked for one.
    pub(super) upgrade: Option<OnUpgrade>,
}

/// Checks a request and makes its head ready for upstream. Of one that is refused the body is given back.
pub(super) fn admit(
    connection: &Connection,
    prepared: &Prepared,
    endpoint: Endpoint,
    mut request: Request<Incoming>,
) -> Result<Admission, Box<Refused>> {
    let upgrade = headers::wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let waits = unread::waits(request.headers());
    let (head, body) = request.into_parts();
    match for_upstream(connection, prepared, endpoint, head, upgrade.is_some()) {
        Ok(request) => Ok(Admission {
            request,
            body: Body::new(body),
            upgrade,
        }),
        Err(refusal) => Err(Box::new(Refused {
            refusal,
            unread: Some(Unread { body, waits }),
        })),
    }
}

/// The head as it goes upstream. `switches`: it asks for another protocol, and may have it.
fn for_upstream(
    connection: &Connection,
    prepared: &Prepared,
    endpoint: Endpoint,
    mut head: Parts,
    switches: bool,
) -> Result<Parts, Refusal> {
    if head.method == http::Method::CONNECT {
        return Err(Refusal::Tunnel);
    }
    if head_length(&head) > MOST_HEAD_BYTES {
        return Err(Refusal::HeadTooLong);
    }
    check_host(connection, &head)?;
    let policy = &prepared.policy;
    policy
        .permits_operation(endpoint)
        .map_err(|denial| Refusal::OperationDenied(denial.to_string()))?;
    let dialect = prepared.backend.provider.dialect();

    let mut changes = HeaderChanges::default();
    for (name, value) in policy.set_headers() {
        changes.set(name.clone(), value.clone());
    }
    for name in policy.remove_headers() {
        changes.remove(name.clone());
    }
    match &prepared.credential {
        Credential::Callers => refuse_placeholder(connection, dialect, &head.headers)?,
        Credential::Ours { name, value } => {
            changes.set(name.clone(), value.clone());
            for other in dialect.credential_header().others {
                changes.remove(other.clone());
            }
        }
        Credential::Missing(reason) => return Err(Refusal::no_credential(&connection.host, reason)),
    }
    if let Some(authority) = &prepared.authority {
        if head.headers.contains_key(HOST) {
            changes.set(HOST, authority.clone());
        }
        head.uri = with_authority(head.uri, authority);
    }
    if let Some(prefix) = prepared
        .backend
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.path_prefix.as_deref())
    {
        head.uri = with_prefix(head.uri, prefix).ok_or(Refusal::BadPath)?;
    }
    headers::forward_request(&mut head.headers, connection.protocol, switches, changes);
    Ok(head)
}

/// Its bytes as HTTP/1.1 writes the path and the headers (RFC 9112 §2.1); how HTTP/2 packs them is no measure of what they are.
fn head_length(head: &Parts) -> usize {
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let headers = head.headers.iter();
    path + headers
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum::<usize>()
}

/// The TLS handshake, the request and the backend must agree on who is meant: else a key could be asked for one host and sent to another.
fn check_host(connection: &Connection, head: &Parts) -> Result<(), Refusal> {
    let named = match (head.uri.authority(), head.headers.get(HOST)) {
        (Some(authority), None) => Some(authority.as_str()),
        (None, Some(host)) => host.to_str().ok(),
        // Both: they have to agree as well (RFC 9113 §8.3.1).
        (Some(authority), Some(host)) => host
            .to_str()
            .ok()
            .filter(|host| host.eq_ignore_ascii_case(authority.as_str())),
        (None, None) => None,
    };
    if head.headers.get_all(HOST).iter().count() > 1 {
        return Err(Refusal::Misdirected {
            expected: connection.host.to_string(),
            named: None,
        });
    }
    match named.map(host::without_port) {
        Some(named) if named.eq_ignore_ascii_case(&connection.host) => Ok(()),
        named => Err(Refusal::Misdirected {
            expected: connection.host.to_string(),
            named: named.map(str::to_owned),
        }),
    }
}

/// A placeholder is there for an SDK's start-up check. It must never leave, for it tells upstream nothing but that a key is missing.
fn refuse_placeholder(connection: &Connection, dialect: Dialect, headers: &HeaderMap) -> Result<(), Refusal> {
    let header = dialect.credential_header();
    let carriers = std::iter::once(&header.name)
        .chain(header.others)
        .chain([&AUTHORIZATION]);
    for name in carriers {
        if headers
            .get_all(name)
            .iter()
            .any(|value| is_placeholder(value.as_bytes()))
        {
            return Err(Refusal::no_credential(
                &connection.host,
                "the backend passes the caller's own key through, and the caller sent Weir's placeholder; give the \
                 program a key of its own, or the backend an `auth.secretRef`",
            ));
        }
    }
    Ok(())
}

fn with_authority(uri: Uri, authority: &HeaderValue) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    let mut parts = uri.clone().into_parts();
    parts.authority = http::uri::Authority::try_from(authority.as_bytes()).ok();
    Uri::from_parts(parts).unwrap_or(uri)
}

fn with_prefix(uri: Uri, prefix: &str) -> Option<Uri> {
    let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
    let path_and_query = format!("{}{path_and_query}", prefix.trim_end_matches('/'));
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}
