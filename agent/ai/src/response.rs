//! Rides on a response's body.

use crate::decode::Decoder;
use crate::json::{Found, JsonScan, Kind};
use crate::needles;
use crate::sse::{Part, SseScan};
use crate::usage::{InputFigure, WireUsage};
use crate::{Endpoint, Usage};

mod members;
use members::{Member, Members};

/// Rides on a response's body as it comes on the wire, whatever its pieces and its content encoding, and never fails:
/// usage that it cannot read is [`UsageReading::Unread`].
///
/// Nothing is scanned, and `finished` stays false, where the endpoint [uses no tokens](Endpoint::counts_tokens).
#[derive(Debug)]
pub struct ResponseScan {
    endpoint: Endpoint,
    decoder: Option<Box<Decoder>>,
    body: Body,
    facts: Facts,
    /// The encoding is unknown, or the bytes are not what it says.
    undecodable: bool,
}

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

#[derive(Debug)]
enum Body {
    /// Nothing to read.
    Ignored,
    /// The content type does not tell; the first byte will.
    Unknown,
    Json(JsonScan),
    Events(Events),
}

#[derive(Debug)]
struct Events {
    sse: SseScan,
    json: JsonScan,
    done: Done,
}

/// What the members found in the body have said.
#[derive(Default, Debug)]
struct Facts {
    usage: WireUsage,
    model: Option<String>,
    finished: bool,
    error: bool,
}

impl ResponseScan {
    /// A scan of the answer of `endpoint`, with the response's `content-type` and `content-encoding`.
    pub fn new(endpoint: Endpoint, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let mut scan = Self {
            endpoint,
            decoder: None,
            body: Body::Ignored,
            facts: Facts::default(),
            undecodable: false,
        };
        if !endpoint.counts_tokens() {
            return scan;
        }
        match content_encoding.map(Decoder::new) {
            None => {}
            Some(Ok(decoder)) if decoder.is_identity() => {}
            Some(Ok(decoder)) => scan.decoder = Some(Box::new(decoder)),
            Some(Err(_)) => {
                scan.undecodable = true;
                return scan;
            }
        }
        let media_type = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        scan.body = if media_type.eq_ignore_ascii_case("text/event-stream") {
            Body::events(endpoint)
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Body::json(endpoint)
        } else {
            Body::Unknown
        };
        scan
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        if matches!(self.body, Body::Ignored) {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            self.body.push(self.endpoint, piece, &mut self.facts);
            return;
        };
        let decoded = decoder.push(piece, &mut |decoded| {
            self.body.push(self.endpoint, decoded, &mut self.facts)
        });
        if decoded.is_err() {
            self.facts.finished = self.finished();
            self.undecodable = true;
            self.decoder = None;
            self.body = Body::Ignored;
        }
    }

    /// What is known so far, also in the middle of a stream that broke off.
    pub fn reading(&self) -> Reading {
        let figure = match self.endpoint {
            Endpoint::Messages => InputFigure::ExcludesCache,
            _ => InputFigure::IncludesCache,
        };
        let finished = self.finished();
        let usage = match self.facts.usage.usage(figure) {
            _ if !self.endpoint.counts_tokens() => UsageReading::None,
            // figures of a stream that could no longer be followed would be too low
            _ if self.undecodable && !finished => UsageReading::Unread,
            Some(usage) => UsageReading::Read(usage),
            None => UsageReading::Unread,
        };
        Reading {
            usage,
            model: self.facts.model.clone(),
            finished,
            error: self.facts.error,
        }
    }

    fn finished(&self) -> bool {
        self.facts.finished
            || match &self.body {
                Body::Json(json) => json.is_complete(),
                Body::Events(events) => events.done.is_done(),
                Body::Ignored | Body::Unknown => false,
            }
    }
}

impl Body {
    fn json(endpoint: Endpoint) -> Self {
        Self::Json(JsonScan::new(Members::of(endpoint).paths))
    }

    fn events(endpoint: Endpoint) -> Self {
        let json = JsonScan::new(Members::of(endpoint).paths);
        Self::Events(Events {
            sse: SseScan::new(),
            json,
            done: Done::default(),
        })
    }

    fn push(&mut self, endpoint: Endpoint, mut piece: &[u8], facts: &mut Facts) {
        if matches!(self, Self::Unknown) {
            // Blank lines may stand before either. An event stream never begins with a brace.
            piece = piece.trim_ascii_start();
            match piece.first() {
                None => return,
                Some(b'{') => *self = Self::json(endpoint),
                Some(_) => *self = Self::events(endpoint),
            }
        }
        match self {
            Self::Json(json) => json.push(piece, &mut |found| facts.take(Members::of(endpoint), &found)),
            Self::Events(events) => events.push(endpoint, piece, facts),
            Self::Ignored | Self::Unknown => {}
        }
    }
}

impl Events {
    fn push(&mut self, endpoint: Endpoint, piece: &[u8], facts: &mut Facts) {
        let members = Members::of(endpoint);
        let Self { sse, json, done } = self;
        sse.push(piece, &mut |part| match part {
            Part::Event(data) => {
                if facts.is_told_something(members, data) {
                    json.reset();
                    json.push(data, &mut |found| facts.take(members, &found));
                } else if data == Done::DATA {
                    facts.finished = true;
                }
            }
            Part::Data(data) => {
                if done.length == 0 {
                    json.reset();
                }
                done.push(data);
                json.push(data, &mut |found| facts.take(members, &found));
            }
            Part::End => {
                facts.finished |= done.is_done();
                *done = Done::default();
            }
        });
    }
}

/// Recognises `[DONE]` in an event's data that comes in pieces.
#[derive(Default, Debug)]
struct Done {
    start: [u8; Done::DATA.len()],
    length: usize,
}

impl Done {
    const DATA: &'static [u8] = b"[DONE]";

    fn push(&mut self, data: &[u8]) {
        if let Some(room) = self.start.get_mut(self.length..) {
            let length = room.len().min(data.len());
            room[..length].copy_from_slice(&data[..length]);
        }
        self.length = self.length.saturating_add(data.len());
    }

    fn is_done(&self) -> bool {
        self.length == Self::DATA.len() && self.start == Self::DATA
    }
}

impl Facts {
    /// Whether an event's data can change what is known. If not, it need not be scanned. Never false for data whose
    /// scan would have changed something, so that what is known does not hang on how the bytes were split.
    fn is_told_something(&self, members: &Members, data: &[u8]) -> bool {
        if self.model.is_none() {
            return data != Done::DATA;
        }
        needles::USAGE.has_value_in(data)
            || needles::ERROR.is_in(data)
            || members.last.iter().any(|last| last.name.is_in(data))
    }

    fn take(&mut self, members: &Members, found: &Found<'_>) {
        match (members.meanings[found.path], found.bytes) {
            (Member::Usage, Some(bytes)) if matches!(found.kind, Kind::Object { .. }) => {
                if let Some(usage) = WireUsage::parse(bytes) {
                    self.usage.replace(&usage);
                }
            }
            (Member::Model, Some(bytes)) if self.model.is_none() && found.kind == Kind::String => {
                // Azure's first chunk has an empty one
                self.model = serde_json::from_slice(bytes)
                    .ok()
                    .filter(|model: &String| !model.is_empty());
            }
            (Member::Error, _) => self.error |= !matches!(found.kind, Kind::Null | Kind::False),
            (Member::Type, Some(bytes)) => {
                self.error |= bytes == needles::ERROR.word();
                if let Some(last) = members.last.iter().find(|last| last.name.word() == bytes) {
                    self.finished = true;
                    self.error |= last.error;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
