//! Rides on a request's body.

use std::borrow::Cow;
use std::ops::Range;

use crate::Endpoint;

/// Rides on a request's body: whatever its pieces, in bounded memory, never failing. Of a body that is not the
/// JSON object that the endpoint takes it just knows less.
#[derive(Debug)]
pub struct RequestScan;

/// What a request's body says, as far as it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestFacts<'a> {
    /// The model it names.
    pub model: Option<&'a str>,
    /// Whether it asks for a stream.
    pub stream: Option<bool>,
    /// Whether its top-level value has closed.
    pub complete: bool,
}

/// A change to a body: the bytes of `range` give way to `insert`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Splice {
    /// The bytes of the body that are replaced; an empty range where nothing is.
    pub range: Range<u64>,
    /// What takes their place.
    pub insert: Cow<'static, [u8]>,
}

impl RequestScan {
    /// A scan of a body sent to `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        let _ = endpoint;
        Self
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let _ = piece;
    }

    /// What is known so far.
    pub fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            model: None,
            stream: None,
            complete: false,
        }
    }

    /// The change that makes the provider report usage in the stream; `None` where the request is not for a stream
    /// of completions, where the client has asked already, or where the body cannot be understood. Valid once the
    /// whole body was pushed. Not to be applied where
    /// [`Provider::stream_usage_on_request`](crate::Provider::stream_usage_on_request) is false.
    pub fn usage_splice(&self) -> Option<Splice> {
        None
    }

    /// Whether the client itself asked for usage in the stream, so that its event must reach it.
    pub fn asked_for_usage(&self) -> bool {
        false
    }
}
