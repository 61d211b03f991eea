//! One request's life: bytes unchanged, the key put in, errors in the host's own words.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod credentials;
mod endings;
mod failures;
mod framing;
mod http2;
mod leaving;
mod policies;
mod programs;
mod routes;
mod streaming;
mod timeouts;

use serde_json::Value;
use weir_tests::captured::tls::{Greeting, TlsStream};
use weir_tests::captured::{Dialer, Wire};
use weir_tests::world::World;

/// What providers' names resolve to.
const OPENAI: &str = "203.0.113.20:443";

/// A chat completion without a stream, in a form that no serialiser would give it.
const CHAT_BODY: &str =
    "{ \"model\" :\"gpt-4o-mini\",\n\t\"messages\":[ {\"role\":\"user\",\"content\":\"h\\u00efer ☃\"}]  }";

/// A connection to api.openai.com, terminated by Weir.
fn openai(world: &World, dialer: &Dialer<'_>) -> Wire<TlsStream> {
    Greeting::to("api.openai.com")
        .on(world, dialer.connect(OPENAI))
        .unwrap()
}

/// A connection to api.anthropic.com, terminated by Weir.
fn anthropic(world: &World, dialer: &Dialer<'_>) -> Wire<TlsStream> {
    Greeting::to("api.anthropic.com")
        .on(world, dialer.connect(OPENAI))
        .unwrap()
}

/// A POST of JSON to one of OpenAI's paths.
fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A POST of JSON to Anthropic's messages.
fn message(body: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nanthropic-version: 2023-06-01\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The code in an error of either dialect; Anthropic's has it in its message's place for types.
fn code(body: &Value) -> &str {
    body.pointer("/error/code")
        .and_then(Value::as_str)
        .unwrap_or_default()
}
