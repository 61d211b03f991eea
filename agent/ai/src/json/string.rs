//! Strings: values, which are skipped, and keys, which say what comes next.

use memchr::memchr2;

use super::{Found, JsonScan, Kind, Level, PATH_DEPTH, State};

impl JsonScan {
    /// Skips through a string; answers where to go on.
    pub(super) fn string(
        &mut self,
        piece: &[u8],
        mut at: usize,
        mut escaped: bool,
        key: bool,
        capture_from: usize,
        found: &mut impl FnMut(Found<'_>),
    ) -> usize {
        let from = at;
        let read_key = key && self.depth <= PATH_DEPTH && self.levels[self.depth - 1].through != 0;
        loop {
            if escaped {
                if at == piece.len() {
                    break;
                }
                at += 1;
                escaped = false;
            }
            match memchr2(b'"', b'\\', &piece[at..]) {
                None => {
                    at = piece.len();
                    break;
                }
                Some(skip) if piece[at + skip] == b'\\' => {
                    at += skip + 1;
                    escaped = true;
                    self.key.mark_escaped();
                }
                Some(skip) => {
                    at += skip;
                    if !key {
                        self.close_value(Kind::String, piece, at + 1, capture_from, found);
                    } else {
                        self.state = State::Colon;
                        if read_key {
                            self.end_key(&piece[from..at]);
                        } else if self.depth <= PATH_DEPTH {
                            self.levels[self.depth] = Level::default();
                        }
                    }
                    return at + 1;
                }
            }
        }
        if read_key {
            self.key.extend(&piece[from..at]);
        }
        self.state = State::String { escaped, key };
        at
    }

    /// The key is whole: which paths does the value lie on that follows it?
    fn end_key(&mut self, part: &[u8]) {
        let depth = self.depth;
        let parent = self.levels[depth - 1].through;
        let mut unescaped = String::new();
        let key = self.key.end(part, self.lenient, &mut unescaped);
        let is_it = |name: &str| match self.lenient {
            true => name.as_bytes().eq_ignore_ascii_case(key),
            false => name.as_bytes() == key,
        };
        let mut level = Level::default();
        for (index, path) in self.paths.iter().enumerate() {
            if parent & (1 << index) != 0 && path.keys.get(depth - 1).is_some_and(|name| is_it(name)) {
                if path.keys.len() == depth {
                    level.path = index as u8 + 1;
                } else {
                    level.through |= 1 << index;
                }
            }
        }
        self.levels[depth] = level;
    }
}
