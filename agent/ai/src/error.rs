//! Weir's own errors in the words of the dialect that the client expects.

use bytes::Bytes;
use http::StatusCode;

use crate::Dialect;

/// An error that Weir itself answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorReply<'a> {
    /// The HTTP status.
    pub status: StatusCode,
    /// Weir's stable code, such as `weir_model_denied`.
    pub code: &'a str,
    /// What is wrong and what to do, in plain words.
    pub message: &'a str,
}

impl Dialect {
    /// The error as a response body; its content type is `application/json`.
    pub fn error_body(self, reply: &ErrorReply<'_>) -> Bytes {
        let _ = reply;
        Bytes::new()
    }

    /// The error as an event in a stream that has already begun.
    pub fn error_event(self, reply: &ErrorReply<'_>) -> Bytes {
        let _ = reply;
        Bytes::new()
    }
}
