//! Takes the usage event that Weir asked for out of a stream again.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_ai::{Decoder, UsageEventFilter};

/// Decodes where it must, filters, and leaves every other event as it came.
pub(super) struct Reshape {
    /// Set where the provider encoded the stream although it was asked not to.
    decoder: Option<Decoder>,
    filter: UsageEventFilter,
}
