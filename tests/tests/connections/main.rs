//! From the first bytes of a connection to what becomes of it: served or relayed, and never a key for the wrong server.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod distrust;
mod greetings;
mod misdirected;
mod relayed;
mod unroutable;

/// What providers' names resolve to.
const OPENAI: &str = "203.0.113.20:443";
/// The test's own server.
const FREE: &str = "203.0.113.40:443";
/// A host that is no provider's.
const PLAIN: &str = "203.0.113.30:443";

/// A request that needs no body.
const MODELS: &str = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
