//! `br` (RFC 7932), with windows of at most 16 MiB as that says.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::Malformed;

pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    at_end: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let allocate = StandardAlloc::default;
        Self {
            state: BrotliState::new_strict(allocate(), allocate(), allocate()),
            at_end: false,
        }
    }

    pub(super) fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Malformed> {
        if self.at_end {
            *input = &[];
            return Ok(0);
        }
        let (mut available, mut taken) = (input.len(), 0);
        let (mut room, mut length, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut available,
            &mut taken,
            input,
            &mut room,
            &mut length,
            output,
            &mut total,
            &mut self.state,
        );
        *input = &input[taken..];
        match result {
            BrotliResult::ResultFailure => return Err(Malformed),
            BrotliResult::ResultSuccess => {
                self.at_end = true;
                *input = &[];
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(length)
    }
}
