//! Takes the usage event that Weir asked for out of a stream again.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_ai::{DecodeError, Decoder, UsageEventFilter};

/// Decodes where it must, filters, and leaves every other event as it came.
pub(super) struct Reshape {
    /// Set where the provider encoded the stream although it was asked not to.
    decoder: Option<Decoder>,
    filter: UsageEventFilter,
}

impl Reshape {
    /// `None` for an encoding that Weir cannot read: then the stream has to pass as it came.
    pub(super) fn new(content_encoding: Option<&str>) -> Option<Self> {
        let decoder = match content_encoding {
            None | Some("identity") => None,
            Some(encoding) => Some(Decoder::new(encoding).ok()?),
        };
        Some(Self {
            decoder,
            filter: UsageEventFilter::new(),
        })
    }

    /// Takes bytes off the wire and appends what of them goes to the client.
    pub(super) fn push(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), DecodeError> {
        let mut keep = |bytes: Bytes| out.push_back(bytes);
        match &mut self.decoder {
            None => self.filter.push(data, &mut keep),
            Some(decoder) => {
                let filter = &mut self.filter;
                decoder.push(&data, &mut |decoded| {
                    filter.push(Bytes::copy_from_slice(decoded), &mut keep)
                })?;
            }
        }
        Ok(())
    }

    /// The stream has ended: what is still held back goes to the client.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        self.filter.finish(&mut |bytes| out.push_back(bytes));
    }
}
