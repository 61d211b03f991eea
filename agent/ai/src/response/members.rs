//! Where in an answer, or in an event of its stream, each endpoint says what matters.

use crate::Endpoint;
use crate::json::Path;
use crate::needles::{self, Needle};

/// What a member says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Member {
    Model,
    Usage,
    Error,
    Type,
}

/// The members to look for: each path with its meaning at the same index.
pub(super) struct Members {
    pub(super) paths: &'static [Path],
    pub(super) meanings: &'static [Member],
    /// The types of a stream's last event.
    pub(super) last: &'static [Last],
}

/// A type of a stream's last event.
pub(super) struct Last {
    pub(super) name: &'static Needle,
    /// Whether it tells of an error.
    pub(super) error: bool,
}

const fn path(keys: &'static [&'static str]) -> Path {
    Path { keys, capture: true }
}

const fn kind_of(keys: &'static [&'static str]) -> Path {
    Path { keys, capture: false }
}

/// Groq's streams carry usage in `x_groq` of the last chunk, and errors there too.
static COMPLETIONS: Members = Members {
    paths: &[
        path(&["model"]),
        path(&["usage"]),
        kind_of(&["error"]),
        path(&["x_groq", "usage"]),
        kind_of(&["x_groq", "error"]),
    ],
    meanings: &[
        Member::Model,
        Member::Usage,
        Member::Error,
        Member::Usage,
        Member::Error,
    ],
    // `[DONE]` ends it.
    last: &[],
};

/// In a stream all stands in the event's `response`.
static RESPONSES: Members = Members {
    paths: &[
        path(&["type"]),
        path(&["model"]),
        path(&["usage"]),
        kind_of(&["error"]),
        path(&["response", "model"]),
        path(&["response", "usage"]),
        kind_of(&["response", "error"]),
    ],
    meanings: &[
        Member::Type,
        Member::Model,
        Member::Usage,
        Member::Error,
        Member::Model,
        Member::Usage,
        Member::Error,
    ],
    last: &[
        Last {
            name: &needles::COMPLETED,
            error: false,
        },
        Last {
            name: &needles::INCOMPLETE,
            error: false,
        },
        Last {
            name: &needles::FAILED,
            error: true,
        },
    ],
};

/// In a stream the first event has a `message`, the later ones a `usage`.
static MESSAGES: Members = Members {
    paths: &[
        path(&["type"]),
        path(&["model"]),
        path(&["usage"]),
        kind_of(&["error"]),
        path(&["message", "model"]),
        path(&["message", "usage"]),
    ],
    meanings: &[
        Member::Type,
        Member::Model,
        Member::Usage,
        Member::Error,
        Member::Model,
        Member::Usage,
    ],
    last: &[Last {
        name: &needles::MESSAGE_STOP,
        error: false,
    }],
};

impl Members {
    pub(super) fn of(endpoint: Endpoint) -> &'static Self {
        match endpoint {
            Endpoint::Responses => &RESPONSES,
            Endpoint::Messages => &MESSAGES,
            _ => &COMPLETIONS,
        }
    }
}
