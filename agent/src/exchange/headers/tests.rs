use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::{HeaderChanges, forward_request, forward_response, wants_upgrade};
use crate::upstream::Protocol;

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("a test's values are text")))
        .collect()
}

#[test]
fn a_new_value_stands_where_the_old_one_stood() {
    let mut headers = map(&[("host", "a"), ("authorization", "x"), ("accept", "*/*")]);
    let mut changes = HeaderChanges::default();
    changes.set(AUTHORIZATION, HeaderValue::from_static("y"));
    forward_request(&mut headers, Protocol::Http1, false, changes);
    assert_eq!(
        pairs(&headers),
        [("host", "a"), ("authorization", "y"), ("accept", "*/*")]
    );
}

#[test]
fn what_is_taken_out_leaves_the_rest_in_order() {
    let mut headers = map(&[
        ("host", "a"),
        ("connection", "keep-alive, x-hop, host"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
        ("a", "1"),
        ("a", "2"),
        ("b", "3"),
    ]);
    forward_request(&mut headers, Protocol::Http1, false, HeaderChanges::default());
    let expected = [
        ("host", "a"),
        ("connection", "keep-alive, x-hop, host"),
        ("a", "1"),
        ("a", "2"),
        ("b", "3"),
    ];
    assert_eq!(pairs(&headers), expected);
}

#[test]
fn answers_lose_alt_svc_and_what_http2_forbids() {
    let mut headers = map(&[
        ("connection", "close"),
        ("alt-svc", "h3"),
        ("a", "1"),
        ("transfer-encoding", "chunked"),
    ]);
    forward_response(&mut headers, Protocol::Http2, HeaderChanges::default());
    assert_eq!(pairs(&headers), [("a", "1")]);
}

#[test]
fn an_upgrade_needs_both_headers() {
    assert!(wants_upgrade(&map(&[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket")
    ])));
    assert!(!wants_upgrade(&map(&[("upgrade", "websocket")])));
}
