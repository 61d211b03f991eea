//! What a scan looks for, and what it tells of it.

/// A place in the document, by object keys.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) keys: &'static [&'static str],
    /// Whether the value's bytes are wanted. Paths of which one lies within the other cannot both be captured.
    pub(crate) capture: bool,
}

/// What kind of value was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Object { empty: bool },
    Array { empty: bool },
}

/// A value at one of the paths, reported when it has closed.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The index of its path.
    pub(crate) path: usize,
    pub(crate) kind: Kind,
    /// Where it begins, from the document's first byte.
    pub(crate) start: u64,
    /// Where it ends: one past its last byte.
    pub(crate) end: u64,
    /// Its bytes, where they were wanted and not too many.
    pub(crate) bytes: Option<&'a [u8]>,
}
