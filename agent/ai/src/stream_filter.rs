//! Takes out of a stream the usage that the client did not ask for.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr2;

use crate::json::{JsonScan, Kind, Path};
use crate::needles;
use crate::sse::{Part, SseScan};

/// A longer event passes without a look at it: the one that is looked for has some hundred bytes.
const EVENT_LIMIT: usize = 256 * 1024;

/// Forwards a stream of server-sent events, save the one whose `choices` are empty and which has a `usage`, and the
/// `"usage":null` of the others, which providers add where that event was asked for. Used only where Weir itself asked.
///
/// Everything else passes unchanged to the byte. A whole event passes at once, as a slice of the piece that it came in, or, where
/// something was cut out of it, in one copy with its neighbours; what is held is part of an event whose end has not come,
/// up to 256 KiB.
#[derive(Debug)]
pub struct UsageEventFilter {
    /// What has come of the present event in earlier pieces.
    held: Vec<u8>,
    /// Whether the present line is empty so far.
    line_is_empty: bool,
    after_carriage_return: bool,
    /// Whether the present event has become too long to be held.
    passing: bool,
    /// The fate of the last event. Between CR and LF an event has ended, and the LF shares its fate.
    stripped: bool,
    between_events: bool,
}

/// What becomes of an event.
enum Fate {
    /// It passes.
    Passes,
    /// It passes without these bytes of it.
    Cut(Range<usize>),
    /// It is taken out, or has been passed on already.
    Gone { stripped: bool },
}

impl Default for UsageEventFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageEventFilter {
    /// A filter at the start of a stream.
    pub fn new() -> Self {
        Self {
            held: Vec::new(),
            line_is_empty: true,
            after_carriage_return: false,
            passing: false,
            stripped: false,
            between_events: false,
        }
    }

    /// Takes the next piece; what may pass goes to `out`.
    pub fn push(&mut self, piece: Bytes, out: &mut impl FnMut(Bytes)) {
        // `run..event` is decided and passes; `event..` is what has come of the present event.
        let (mut run, mut event, mut at) = (0, 0, 0);
        // What passes before `run`, once something was cut out of this piece.
        let mut edited = Vec::new();
        while at < piece.len() {
            if std::mem::take(&mut self.after_carriage_return) && piece[at] == b'\n' {
                at += 1;
                if self.between_events {
                    event = at;
                    if self.stripped {
                        run = at;
                    }
                }
                continue;
            }
            self.between_events = false;
            let Some(skip) = memchr2(b'\n', b'\r', &piece[at..]) else {
                self.line_is_empty = false;
                break;
            };
            let ended = self.line_is_empty && skip == 0;
            at += skip + 1;
            self.line_is_empty = true;
            self.after_carriage_return = piece[at - 1] == b'\r';
            if !self.passing && self.held.first().unwrap_or(&piece[event]) == &b':' {
                // A comment before an event: it keeps the client from giving up, so it does not wait for what may be minutes away.
                self.release(out);
                event = at;
                (self.between_events, self.stripped) = (true, false);
                continue;
            }
            if ended {
                self.between_events = true;
                let fate = self.end_event(&piece[event..at], out);
                self.stripped = matches!(fate, Fate::Gone { stripped: true });
                match fate {
                    Fate::Passes => {}
                    Fate::Cut(cut) => {
                        edited.extend_from_slice(&piece[run..event + cut.start]);
                        run = event + cut.end;
                    }
                    Fate::Gone { .. } => {
                        pass(&mut edited, &piece, run, event, out);
                        run = at;
                    }
                }
                event = at;
            }
        }
        if self.passing {
            event = piece.len();
        }
        let rest = &piece[event..];
        if self.held.len() + rest.len() > EVENT_LIMIT {
            self.release(out);
            self.passing = true;
            event = piece.len();
        } else {
            self.held.extend_from_slice(rest);
        }
        pass(&mut edited, &piece, run, event, out);
    }

    /// The stream has ended: what is held passes, unless it is the usage event without its last line end.
    pub fn finish(&mut self, out: &mut impl FnMut(Bytes)) {
        match fate(&self.held) {
            Fate::Passes => {}
            Fate::Cut(cut) => drop(self.held.drain(cut)),
            Fate::Gone { .. } => self.held.clear(),
        }
        self.release(out);
        *self = Self::new();
    }

    /// The present event ends with `last`, its part in this piece, whose fate this is. What is held of it is let go of.
    fn end_event(&mut self, last: &[u8], out: &mut impl FnMut(Bytes)) -> Fate {
        if std::mem::take(&mut self.passing) || self.held.len() + last.len() > EVENT_LIMIT {
            self.release(out);
            return Fate::Passes;
        }
        if self.held.is_empty() {
            return fate(last);
        }
        let before = self.held.len();
        self.held.extend_from_slice(last);
        let fate = match fate(&self.held) {
            Fate::Passes => {
                self.held.truncate(before);
                Fate::Passes
            }
            Fate::Cut(cut) => {
                self.held.drain(cut);
                Fate::Gone { stripped: false }
            }
            gone @ Fate::Gone { .. } => {
                self.held.clear();
                gone
            }
        };
        self.release(out);
        fate
    }

    fn release(&mut self, out: &mut impl FnMut(Bytes)) {
        if !self.held.is_empty() {
            out(Bytes::from(std::mem::take(&mut self.held)));
        }
    }
}

fn pass(edited: &mut Vec<u8>, piece: &Bytes, from: usize, to: usize, out: &mut impl FnMut(Bytes)) {
    if !edited.is_empty() {
        edited.extend_from_slice(&piece[from..to]);
        out(Bytes::from(std::mem::take(edited)));
    } else if from < to {
        out(piece.slice(from..to));
    }
}

fn fate(event: &[u8]) -> Fate {
    if !needles::USAGE.is_in(event) {
        return Fate::Passes;
    }
    if is_usage_event(event) {
        return Fate::Gone { stripped: true };
    }
    null_usage(event).map_or(Fate::Passes, Fate::Cut)
}

/// The last `"usage":null` of an event, with the comma before it, if it is a member of the whole: what is behind it closes one
/// object, and there ends the JSON. So only that is read, and not the whole chunk. (In JSON, `,"usage"` cannot stand
/// inside a string: its quotes would be escaped.) Any other form is rare, and passes as it is.
fn null_usage(event: &[u8]) -> Option<Range<usize>> {
    let key = needles::USAGE.last_in(event)?;
    let before = event[..key].trim_ascii_end().strip_suffix(b",")?;
    if !before.starts_with(b"data:") {
        return None;
    }
    let (mut end, mut members) = (None, 0);
    let mut json = JsonScan::new(&PATHS[USAGE..=USAGE]);
    json.push(b"{", &mut |_| {});
    json.push(&event[key..], &mut |found| {
        members += 1;
        end = (found.kind == Kind::Null).then_some(found.end - 1);
    });
    if !json.is_complete() || members != 1 {
        return None;
    }
    Some(before.len()..key + usize::try_from(end?).ok()?)
}

const CHOICES: usize = 0;
const USAGE: usize = 1;
const ERROR: usize = 2;
static PATHS: &[Path] = &[
    Path {
        keys: &["choices"],
        capture: false,
    },
    Path {
        keys: &["usage"],
        capture: false,
    },
    Path {
        keys: &["error"],
        capture: false,
    },
];

/// An event with usage beside choices (llama.cpp), without usage (Azure's content filter results) or with an error is the
/// client's.
fn is_usage_event(event: &[u8]) -> bool {
    if !needles::USAGE.has_value_in(event) {
        return false;
    }
    let mut kinds = [Kind::Null; 3];
    let mut json = JsonScan::new(PATHS);
    SseScan::new().push(event, &mut |part| match part {
        Part::Event(data) | Part::Data(data) => json.push(data, &mut |found| kinds[found.path] = found.kind),
        Part::End => {}
    });
    json.is_complete()
        && kinds[CHOICES] == Kind::Array { empty: true }
        && kinds[USAGE] != Kind::Null
        && kinds[ERROR] == Kind::Null
}

#[cfg(test)]
mod tests;
