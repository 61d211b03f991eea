//! Headers on their way through: hop-by-hop ones stay here, a policy's changes go in, all else keeps its order and case.

use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

use crate::upstream::Protocol;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What is to be different about a message's headers.
#[derive(Default)]
pub(super) struct HeaderChanges {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl HeaderChanges {
    pub(super) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.set.push((name, value));
    }

    pub(super) fn remove(&mut self, name: HeaderName) {
        self.remove.push(name);
    }
}

/// Whether a request asks to switch to WebSocket (RFC 6455 §4.1), the one protocol that providers serve so. Any other, above all `h2c`,
/// would be a tunnel for requests that nobody looks at.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// Makes a request's headers ready for upstream.
pub(super) fn forward_request(
    headers: &mut HeaderMap,
    from: Protocol,
    upgrade: bool,
    mut changes: HeaderChanges,
) {
    hop_by_hop(headers, from, upgrade, &mut changes);
    apply(headers, changes);
}

/// Makes a response's headers ready for the client. `Alt-Svc` is dropped: it invites the client to QUIC, which is refused.
pub(super) fn forward_response(headers: &mut HeaderMap, to: Protocol, mut changes: HeaderChanges) {
    if headers.contains_key(ALT_SVC) {
        changes.remove(ALT_SVC);
    }
    if to == Protocol::Http2 {
        for name in [
            CONNECTION,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            TRANSFER_ENCODING,
            UPGRADE,
        ] {
            if headers.contains_key(&name) {
                changes.remove(name);
            }
        }
    }
    apply(headers, changes);
}

/// Between two connections of HTTP/1.1 that are paired one to one, `connection: keep-alive` or `close` and
/// `transfer-encoding: chunked` mean the same on both sides, and stay where the client put them. All else that
/// concerns one hop only goes (RFC 9110 §7.6.1).
fn hop_by_hop(headers: &HeaderMap, from: Protocol, upgrade: bool, changes: &mut HeaderChanges) {
    if from == Protocol::Http2 {
        // HTTP/2 has no such headers but `te: trailers`.
        return;
    }
    for option in connection_options(headers) {
        let known = ["keep-alive", "close", "te"]
            .iter()
            .any(|known| option.eq_ignore_ascii_case(known));
        if known || (upgrade && option.eq_ignore_ascii_case("upgrade")) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(option.as_bytes())
            && !is_essential(&name)
        {
            changes.remove(name);
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION] {
        if headers.contains_key(&name) {
            changes.remove(name);
        }
    }
    if !upgrade {
        changes.remove(UPGRADE);
        changes.remove(HTTP2_SETTINGS);
    }
}

/// Headers that `Connection` may not take out: without them a message would be read differently upstream than here.
fn is_essential(name: &HeaderName) -> bool {
    [
        http::header::HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        http::header::AUTHORIZATION,
        TRAILER,
        TE,
    ]
    .contains(name)
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| !option.is_empty())
}

fn apply(headers: &mut HeaderMap, changes: HeaderChanges) {
    if changes.remove.iter().any(|name| headers.contains_key(name)) {
        remove_in_order(headers, &changes.remove);
    }
    // After the removals: nothing that a client names in `Connection` takes out what is set here.
    for (name, value) in changes.set {
        headers.insert(name, value);
    }
}

/// Gives a header that is there another value, in place of all that it has.
pub(super) fn replace(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if headers.contains_key(&name) {
        headers.insert(name, value);
    }
}

/// `HeaderMap::remove` moves the last header into the gap; this keeps the order.
pub(super) fn remove_in_order(headers: &mut HeaderMap, names: &[HeaderName]) {
    let old = std::mem::replace(headers, HeaderMap::with_capacity(headers.len()));
    let mut last = None;
    for (name, value) in old {
        // Further values of a header come without its name.
        let name = name.or(last);
        if let Some(name) = &name
            && !names.contains(name)
        {
            headers.append(name.clone(), value);
        }
        last = name;
    }
}

#[cfg(test)]
mod tests;
