//! The key being read, where it could be one of a path's.

/// Longer keys match no path. Long enough for any of ours with each letter written as an escape.
const LIMIT: usize = 128;

/// What has come of a key in earlier pieces.
#[derive(Clone, Debug)]
pub(super) struct KeyBuffer {
    bytes: [u8; LIMIT],
    /// More than the limit where the key is.
    length: usize,
    escaped: bool,
}

impl KeyBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; LIMIT],
            length: 0,
            escaped: false,
        }
    }

    /// A new key begins.
    pub(super) fn begin(&mut self) {
        self.length = 0;
        self.escaped = false;
    }

    /// The key has an escape in it.
    pub(super) fn mark_escaped(&mut self) {
        self.escaped = true;
    }

    /// A piece ends within the key.
    pub(super) fn extend(&mut self, part: &[u8]) {
        let end = self.length.saturating_add(part.len());
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(part);
        }
        self.length = end;
    }

    /// The key ends with `part`: how it reads, as it is written or as it is meant. Empty where it is too long for any
    /// path's.
    pub(super) fn end<'a>(
        &'a mut self,
        part: &'a [u8],
        unescape: bool,
        unescaped: &'a mut String,
    ) -> &'a [u8] {
        let key = if self.length == 0 {
            part
        } else {
            self.extend(part);
            self.bytes.get(..self.length).unwrap_or_default()
        };
        if !self.escaped || !unescape || key.len() > LIMIT {
            return key;
        }
        let quoted = [b"\"", key, b"\""].concat();
        *unescaped = serde_json::from_slice(&quoted).unwrap_or_default();
        unescaped.as_bytes()
    }
}
