//! What AI traffic means: providers, dialects, usage, errors and prices. Pure: no sockets, no clock, no Kubernetes.
//!
//! Nothing here sees a whole body. [`RequestScan`] and [`ResponseScan`] ride on the bytes as they pass, in whatever
//! pieces they come, and know what they have seen so far; [`UsageEventFilter`] and [`Decoder`] pass bytes on.

#![forbid(unsafe_code)]

mod decode;
mod dialect;
mod endpoint;
mod error;
mod hosts;
mod json;
mod needles;
mod price;
mod provider;
mod request;
mod response;
mod sse;
mod stream_filter;
mod usage;

#[cfg(test)]
mod testing;

pub use decode::{DecodeError, Decoder};
pub use dialect::{CredentialHeader, Dialect};
pub use endpoint::Endpoint;
pub use error::ErrorReply;
pub use hosts::known_ai_host;
pub use price::{NanoUsd, cost};
pub use provider::Provider;
pub use request::{RequestFacts, RequestScan, Splice};
pub use response::{Reading, ResponseScan, UsageReading};
pub use stream_filter::UsageEventFilter;
pub use usage::Usage;
