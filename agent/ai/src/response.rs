//! Rides on a response's body.

use crate::{Endpoint, Usage};

/// Rides on a response's body as it comes on the wire, whatever its pieces and its content encoding, and never fails:
/// usage that it cannot read is [`UsageReading::Unread`].
#[derive(Debug)]
pub struct ResponseScan;

/// What a response's body says, as far as it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Its usage.
    pub usage: UsageReading,
    /// The model that it names.
    pub model: Option<String>,
    /// Whether the answer's own end was seen: `[DONE]`, `message_stop`, `response.completed`, or a closed JSON object.
    pub finished: bool,
    /// Whether the answer tells of an error although its status said success.
    pub error: bool,
}

/// Whether an exchange's usage is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UsageReading {
    /// It was read.
    Read(Usage),
    /// The exchange used tokens, but how many could not be read.
    Unread,
    /// The exchange carries no usage by nature: a list of models, an error status.
    None,
}

impl ResponseScan {
    /// A scan of the answer of `endpoint`, with the response's `content-type` and `content-encoding`.
    pub fn new(endpoint: Endpoint, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let _ = (endpoint, content_type, content_encoding);
        Self
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let _ = piece;
    }

    /// What is known so far, also in the middle of a stream that broke off.
    pub fn reading(&self) -> Reading {
        Reading {
            usage: UsageReading::None,
            model: None,
            finished: false,
            error: false,
        }
    }
}
