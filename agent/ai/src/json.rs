//! An incremental JSON scanner: checks structure, and reports the values at a few given paths.
//!
//! Why not a parser: bodies are large and come in pieces, and of each only a name, a flag or a small object matters.
//! The scanner holds no more than the value being captured; strings are skipped with memchr. Its grammar is RFC 8259,
//! save that the inside of strings (escapes, UTF-8, control characters) is not checked.

mod found;
mod key;
mod number;
mod string;
pub(crate) use found::{Found, Kind, Path};
use key::KeyBuffer;
use number::Number;

/// Paths are no deeper than this.
const PATH_DEPTH: usize = 4;
/// Values nested deeper than this are taken for broken: serde_json and most providers' parsers stop far earlier.
const NESTING: usize = 512;
/// A captured value that is longer is reported without its bytes.
const CAPTURE_LIMIT: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A value must follow.
    Value,
    /// A value or `]`.
    FirstElement,
    /// A key or `}`.
    FirstKey,
    /// A key.
    Key,
    Colon,
    /// A comma, or the end of the container.
    After,
    String {
        escaped: bool,
        key: bool,
    },
    Literal {
        rest: &'static [u8],
        kind: Kind,
    },
    Number(Number),
    Complete,
    Broken,
}

/// A container or value on the way to a path.
#[derive(Clone, Copy, Default, Debug)]
struct Level {
    /// The paths that lead through this value, a bit each.
    through: u32,
    /// The path that ends at this value, plus one.
    path: u8,
    start: u64,
    empty: bool,
}

/// The scanner. Push the document's pieces in order.
#[derive(Clone, Debug)]
pub(crate) struct JsonScan {
    paths: &'static [Path],
    /// Compare keys as the most lenient of parsers do.
    lenient: bool,
    state: State,
    depth: usize,
    /// Whether each container is an object, a bit each.
    objects: [u64; NESTING / 64],
    /// `levels[d]` is the value at depth `d` that is open or about to be.
    levels: [Level; PATH_DEPTH + 1],
    key: KeyBuffer,
    /// The depth of the value being captured.
    capturing: Option<usize>,
    captured: Vec<u8>,
    /// Bytes pushed before this piece.
    offset: u64,
}

impl JsonScan {
    /// At most 32 paths.
    pub(crate) fn new(paths: &'static [Path]) -> Self {
        debug_assert!(paths.len() <= 32 && paths.iter().all(|path| path.keys.len() <= PATH_DEPTH));
        let mut scan = Self {
            paths,
            lenient: false,
            state: State::Value,
            depth: 0,
            objects: [0; NESTING / 64],
            levels: [Level::default(); PATH_DEPTH + 1],
            key: KeyBuffer::new(),
            capturing: None,
            captured: Vec::new(),
            offset: 0,
        };
        scan.reset();
        scan
    }

    /// Takes `"mod\u0065l"` for the key `model`, as every parser does, and `"Model"`, as some do (Go's).
    pub(crate) fn with_lenient_keys(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Back to the start of a new document.
    pub(crate) fn reset(&mut self) {
        self.state = State::Value;
        self.depth = 0;
        self.levels[0] = Level {
            through: u32::MAX,
            ..Level::default()
        };
        self.capturing = None;
        self.captured.clear();
        self.offset = 0;
    }

    /// Whether the top-level value has closed and only whitespace has followed.
    /// A bare number is complete only with whitespace behind it: nothing else says that it has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether this is no JSON document. What was found before stands.
    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes the next piece and reports each value that closes in it.
    pub(crate) fn push(&mut self, piece: &[u8], found: &mut impl FnMut(Found<'_>)) {
        let mut at = 0;
        // The first byte in this piece that belongs to the value being captured.
        let mut capture_from = 0;
        while at < piece.len() {
            match self.state {
                State::String { escaped, key } => {
                    at = self.string(piece, at, escaped, key, capture_from, found)
                }
                State::Number(number) => {
                    let byte = piece[at];
                    if let Some(next) = number.next(byte) {
                        self.state = State::Number(next);
                        at += 1;
                        if next.takes_digits() {
                            // embeddings are long lists of long numbers
                            at += piece[at..]
                                .iter()
                                .take_while(|byte| byte.is_ascii_digit())
                                .count();
                        }
                    } else if number.may_end() {
                        self.close_value(Kind::Number, piece, at, capture_from, found);
                    } else {
                        self.state = State::Broken;
                    }
                }
                State::Literal { rest, kind } => {
                    let length = rest.len().min(piece.len() - at);
                    if piece[at..at + length] != rest[..length] {
                        self.state = State::Broken;
                        continue;
                    }
                    at += length;
                    if length == rest.len() {
                        self.close_value(kind, piece, at, capture_from, found);
                    } else {
                        self.state = State::Literal {
                            rest: &rest[length..],
                            kind,
                        };
                    }
                }
                State::Broken => break,
                _ => {
                    let byte = piece[at];
                    if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                        at += 1;
                        continue;
                    }
                    self.structure(byte, piece, at, &mut capture_from, found);
                    at += 1;
                }
            }
        }
        if self.capturing.is_some() && self.state != State::Broken {
            self.keep(&piece[capture_from..]);
        }
        self.offset += piece.len() as u64;
    }

    /// One byte between values, keys and the like; not whitespace.
    fn structure(
        &mut self,
        byte: u8,
        piece: &[u8],
        at: usize,
        capture_from: &mut usize,
        found: &mut impl FnMut(Found<'_>),
    ) {
        match (self.state, byte) {
            (State::FirstElement, b']') | (State::FirstKey, b'}') => {
                self.close_container(byte, piece, at + 1, *capture_from, found);
            }
            (State::Value | State::FirstElement, _) => self.open_value(byte, at, capture_from),
            (State::FirstKey | State::Key, b'"') => {
                self.key.begin();
                self.state = State::String {
                    escaped: false,
                    key: true,
                };
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => {
                self.state = if self.in_object() {
                    State::Key
                } else {
                    State::Value
                };
            }
            (State::After, b']' | b'}') => self.close_container(byte, piece, at + 1, *capture_from, found),
            _ => self.state = State::Broken,
        }
    }

    fn in_object(&self) -> bool {
        let index = self.depth - 1;
        self.objects[index / 64] & (1 << (index % 64)) != 0
    }

    fn open_value(&mut self, byte: u8, at: usize, capture_from: &mut usize) {
        let depth = self.depth;
        if let Some(parent) = depth
            .checked_sub(1)
            .and_then(|parent| self.levels.get_mut(parent))
        {
            parent.empty = false;
        }
        if depth > 0 && depth <= PATH_DEPTH {
            let level = &mut self.levels[depth];
            level.start = self.offset + at as u64;
            level.empty = true;
            if let Some(path) = (level.path as usize).checked_sub(1)
                && self.paths[path].capture
                && self.capturing.is_none()
            {
                self.capturing = Some(depth);
                self.captured.clear();
                *capture_from = at;
            }
        }
        self.state = match byte {
            b'"' => State::String {
                escaped: false,
                key: false,
            },
            b'{' | b'[' => return self.open_container(byte == b'{'),
            b't' => State::Literal {
                rest: b"rue",
                kind: Kind::True,
            },
            b'f' => State::Literal {
                rest: b"alse",
                kind: Kind::False,
            },
            b'n' => State::Literal {
                rest: b"ull",
                kind: Kind::Null,
            },
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            _ => State::Broken,
        };
    }

    fn open_container(&mut self, object: bool) {
        if self.depth == NESTING {
            self.state = State::Broken;
            return;
        }
        if self.depth == 0 {
            self.levels[0].empty = true;
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.objects[self.depth / 64];
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        if self.depth <= PATH_DEPTH {
            // No path leads through an array; an object's members get theirs with their keys.
            self.levels[self.depth] = Level::default();
        }
        self.state = if object {
            State::FirstKey
        } else {
            State::FirstElement
        };
    }

    fn close_container(
        &mut self,
        byte: u8,
        piece: &[u8],
        end: usize,
        capture_from: usize,
        found: &mut impl FnMut(Found<'_>),
    ) {
        let object = self.in_object();
        if object != (byte == b'}') {
            self.state = State::Broken;
            return;
        }
        self.depth -= 1;
        let empty = self.levels.get(self.depth).is_some_and(|level| level.empty);
        let kind = if object {
            Kind::Object { empty }
        } else {
            Kind::Array { empty }
        };
        self.close_value(kind, piece, end, capture_from, found);
    }

    /// A value at the present depth ends before `end` in this piece.
    fn close_value(
        &mut self,
        kind: Kind,
        piece: &[u8],
        end: usize,
        capture_from: usize,
        found: &mut impl FnMut(Found<'_>),
    ) {
        let depth = self.depth;
        self.state = if depth == 0 { State::Complete } else { State::After };
        let Some(level) = self.levels.get(depth) else {
            return;
        };
        let Some(path) = (level.path as usize).checked_sub(1) else {
            return;
        };
        let start = level.start;
        let mut bytes = None;
        if self.capturing == Some(depth) {
            self.capturing = None;
            let part = &piece[capture_from..end];
            if self.captured.is_empty() {
                bytes = Some(part);
            } else {
                self.keep(part);
                bytes = Some(self.captured.as_slice());
            }
            bytes = bytes.filter(|bytes| bytes.len() <= CAPTURE_LIMIT);
        }
        found(Found {
            path,
            kind,
            start,
            end: self.offset + end as u64,
            bytes,
        });
    }

    /// Remembers captured bytes; one more than the limit tells that there were too many.
    fn keep(&mut self, part: &[u8]) {
        let room = (CAPTURE_LIMIT + 1).saturating_sub(self.captured.len());
        self.captured.extend_from_slice(&part[..part.len().min(room)]);
    }
}

#[cfg(test)]
mod tests;
