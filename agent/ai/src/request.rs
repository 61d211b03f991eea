//! Rides on a request's body.

use std::borrow::Cow;
use std::ops::Range;

use crate::Endpoint;
use crate::json::{Found, JsonScan, Kind, Path};

const MODEL: usize = 0;
const STREAM: usize = 1;
const OPTIONS: usize = 2;
const INCLUDE_USAGE: usize = 3;
const MODELS: usize = 4;
const WHOLE: &[Path] = &[
    Path {
        keys: &["model"],
        capture: true,
    },
    Path {
        keys: &["stream"],
        capture: false,
    },
    Path {
        keys: &["stream_options"],
        capture: false,
    },
    Path {
        keys: &["stream_options", "include_usage"],
        capture: false,
    },
    // OpenRouter's list of models to fall back to.
    Path {
        keys: &["models"],
        capture: false,
    },
];

/// Rides on a request's body: whatever its pieces, in bounded memory, never failing. Of a body that is not the
/// JSON object that the endpoint takes it just knows less.
///
/// Where a key is repeated the last one holds, as for the providers' own parsers.
#[derive(Debug)]
pub struct RequestScan {
    endpoint: Endpoint,
    json: Option<JsonScan>,
    members: Members,
    /// Where the top-level object ends, and whether it began at all.
    end: TopLevel,
}

#[derive(Default, Debug)]
struct Members {
    model: Option<String>,
    models: Models,
    stream: Option<bool>,
    options: Option<Options>,
    /// The last `include_usage`, not yet known to be inside which `stream_options`.
    include_usage: Option<(Kind, Range<u64>)>,
}

/// How often a model was named.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Models {
    #[default]
    None,
    One,
    Several,
}

#[derive(Debug)]
struct Options {
    kind: Kind,
    range: Range<u64>,
    include_usage: Option<(Kind, Range<u64>)>,
}

/// The place of the last byte that is not whitespace: in a complete document the brace that closes it.
#[derive(Default, Debug)]
struct TopLevel {
    pushed: u64,
    last: Option<(u64, u8)>,
}

/// What a request's body says, as far as it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestFacts<'a> {
    /// The model it names.
    pub model: Option<&'a str>,
    /// Whether it names more models than that one: in a list to choose from, or one key twice, of which parsers differ in what holds. Who restricts models
    /// had better take none.
    pub several_models: bool,
    /// Whether it asks for a stream.
    pub stream: Option<bool>,
    /// Whether its top-level value has closed.
    pub complete: bool,
    /// Whether it turned out to be no JSON: nothing more will be known of it.
    pub broken: bool,
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
        let json = endpoint
            .reads_request()
            .then(|| JsonScan::new(WHOLE).with_lenient_keys());
        Self {
            endpoint,
            json,
            members: Members::default(),
            end: TopLevel::default(),
        }
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        let Some(json) = &mut self.json else { return };
        json.push(piece, &mut |found| self.members.take(&found));
        if let Some(at) = piece
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        {
            self.end.last = Some((self.end.pushed + at as u64, piece[at]));
        }
        self.end.pushed += piece.len() as u64;
    }

    /// What is known so far.
    pub fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            model: self.members.model.as_deref(),
            several_models: self.members.models == Models::Several,
            stream: self.members.stream,
            complete: self.json.as_ref().is_some_and(JsonScan::is_complete),
            broken: self.json.as_ref().is_some_and(JsonScan::is_broken),
        }
    }

    /// The change that makes the provider report usage in the stream; `None` where the request is not for a stream
    /// of completions, where the client has asked already, or where the body cannot be understood. Valid once the
    /// whole body was pushed. Not to be applied where
    /// [`Provider::stream_usage_on_request`](crate::Provider::stream_usage_on_request) is false.
    pub fn usage_splice(&self) -> Option<Splice> {
        let completions = matches!(self.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
        if !completions || !self.facts().complete || self.members.stream != Some(true) {
            return None;
        }
        let (range, insert): (_, &[u8]) = match &self.members.options {
            None => match self.end.last {
                // `stream` is a member, so a comma is always needed
                Some((close, b'}')) => (close..close, br#","stream_options":{"include_usage":true}"#),
                _ => return None,
            },
            Some(Options {
                kind: Kind::Null,
                range,
                ..
            }) => (range.clone(), br#"{"include_usage":true}"#),
            Some(Options {
                kind: Kind::Object { empty },
                range,
                include_usage: None,
            }) => {
                let close = range.end - 1;
                let insert: &[u8] = if *empty {
                    br#""include_usage":true"#
                } else {
                    br#","include_usage":true"#
                };
                (close..close, insert)
            }
            Some(Options {
                include_usage: Some((Kind::False | Kind::Null, range)),
                ..
            }) => (range.clone(), b"true"),
            // asked already, or something that the provider will refuse in its own words
            Some(_) => return None,
        };
        Some(Splice {
            range,
            insert: Cow::Borrowed(insert),
        })
    }
}

impl Members {
    fn take(&mut self, found: &Found<'_>) {
        match found.path {
            MODEL => {
                self.model = found.bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
                self.models = match self.models {
                    Models::None => Models::One,
                    Models::One | Models::Several => Models::Several,
                };
            }
            STREAM => {
                self.stream = match found.kind {
                    Kind::True => Some(true),
                    Kind::False => Some(false),
                    _ => None,
                }
            }
            OPTIONS => {
                self.options = Some(Options {
                    kind: found.kind,
                    range: found.start..found.end,
                    include_usage: self.include_usage.take(),
                });
            }
            MODELS if found.kind != Kind::Null => self.models = Models::Several,
            INCLUDE_USAGE => self.include_usage = Some((found.kind, found.start..found.end)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
