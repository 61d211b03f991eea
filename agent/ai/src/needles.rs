//! A quick look at an event's data, to leave most of them unread: an ordinary chunk holds no word that matters.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A word to look for.
pub(crate) struct Needle(LazyLock<Finder<'static>>);

/// `"usage"`.
pub(crate) static USAGE: Needle = Needle(LazyLock::new(|| Finder::new(r#""usage""#)));
/// `"error"`, a key or a type.
pub(crate) static ERROR: Needle = Needle(LazyLock::new(|| Finder::new(r#""error""#)));
/// The end of a `message_stop` event.
pub(crate) static MESSAGE_STOP: Needle = Needle(LazyLock::new(|| Finder::new(r#""message_stop""#)));
/// The types of the events that end a stream of responses.
pub(crate) static COMPLETED: Needle = Needle(LazyLock::new(|| Finder::new(r#""response.completed""#)));
/// See [`COMPLETED`].
pub(crate) static INCOMPLETE: Needle = Needle(LazyLock::new(|| Finder::new(r#""response.incomplete""#)));
/// See [`COMPLETED`].
pub(crate) static FAILED: Needle = Needle(LazyLock::new(|| Finder::new(r#""response.failed""#)));

impl Needle {
    /// The word, with its quotes.
    pub(crate) fn word(&self) -> &[u8] {
        self.0.needle()
    }

    /// Whether the word is in `data`.
    pub(crate) fn is_in(&self, data: &[u8]) -> bool {
        self.0.find(data).is_some()
    }

    /// Where in `data` the word stands last.
    pub(crate) fn last_in(&self, data: &[u8]) -> Option<usize> {
        self.0.find_iter(data).last()
    }

    /// Whether the word is in `data` other than as a key whose value is null. Where `include_usage` was asked for,
    /// every chunk has `"usage":null`.
    pub(crate) fn has_value_in(&self, data: &[u8]) -> bool {
        self.0.find_iter(data).any(|at| {
            let after = data[at + self.0.needle().len()..].trim_ascii_start();
            let value = after.strip_prefix(b":").unwrap_or(after).trim_ascii_start();
            !value.starts_with(b"null")
        })
    }
}
