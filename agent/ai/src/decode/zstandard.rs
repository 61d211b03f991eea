//! `zstd` (RFC 8878), with windows of at most 8 MiB as RFC 9659 says.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{DecodeError, Malformed};

const WINDOW_LOG: u32 = 23;

pub(super) struct Zstandard {
    decoder: Decoder<'static>,
    at_end: bool,
}

impl Zstandard {
    pub(super) fn new() -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new().map_err(|_| DecodeError::Unsupported)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .map_err(|_| DecodeError::Unsupported)?;
        Ok(Self {
            decoder,
            at_end: false,
        })
    }

    pub(super) fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Malformed> {
        loop {
            if self.at_end && input.is_empty() {
                return Ok(0);
            }
            let mut from = InBuffer::around(input);
            let mut to = OutBuffer::around(output);
            let hint = self.decoder.run(&mut from, &mut to).map_err(|_| Malformed)?;
            let (taken, length) = (from.pos(), to.pos());
            *input = &input[taken..];
            if taken > 0 || length > 0 {
                self.at_end = hint == 0;
            }
            if length > 0 || input.is_empty() {
                return Ok(length);
            }
            if taken == 0 {
                return Err(Malformed);
            }
        }
    }
}
