//! Takes the usage event that Weir asked for out of a stream again.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use weir_ai::{DecodeError, Decoder, UsageEventFilter};

/// Decoded bytes that are made at a time: however much a few bytes decode to, no more than this waits for the client.
const WINDOW_BYTES: usize = 16 * 1024;

/// Decodes where it must, filters, and leaves every other event as it came.
pub(super) struct Reshape {
    /// Set where the provider encoded the stream although it was asked not to.
    decoder: Option<Decoder>,
    /// What has yet to be decoded.
    input: Bytes,
    /// Whether the decoder may have more to give, be it of bytes that it has taken already.
    pending: bool,
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
            input: Bytes::new(),
            pending: false,
            filter: UsageEventFilter::new(),
        })
    }

    /// Takes bytes off the wire, once those before have been decoded, and appends what of them goes to the client.
    pub(super) fn push(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) {
        match self.decoder {
            None => self.filter.push(data, &mut |bytes| out.push_back(bytes)),
            Some(_) => (self.input, self.pending) = (data, true),
        }
    }

    /// Whether there is more to decode.
    pub(super) fn has_input(&self) -> bool {
        self.pending
    }

    /// Decodes some of it, and appends what of that goes to the client.
    pub(super) fn step(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), DecodeError> {
        let mut window = [0; WINDOW_BYTES];
        let mut rest = &self.input[..];
        let decoded = match &mut self.decoder {
            Some(decoder) => decoder.read(&mut rest, &mut window),
            None => Ok(0),
        };
        self.input.advance(self.input.len() - rest.len());
        self.pending = matches!(decoded, Ok(1..));
        let length = decoded?;
        self.filter
            .push(Bytes::copy_from_slice(&window[..length]), &mut |bytes| {
                out.push_back(bytes)
            });
        Ok(())
    }

    /// The stream has ended: what is still held back goes to the client.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        self.filter.finish(&mut |bytes| out.push_back(bytes));
    }
}
