//! `deflate`: zlib's format (RFC 1950), or the bare one (RFC 1951) that some servers send under this name.

use flate2::{Decompress, FlushDecompress, Status};

use super::Malformed;

pub(super) struct Deflate {
    inflate: Option<Decompress>,
    /// The first two bytes tell which format it is; they may come one by one.
    start: [u8; 2],
    started: usize,
    /// How many of them the decoder has had.
    fed: usize,
    at_end: bool,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            inflate: None,
            start: [0; 2],
            started: 0,
            fed: 0,
            at_end: false,
        }
    }

    pub(super) fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, Malformed> {
        while self.started < 2 {
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(0);
            };
            self.start[self.started] = byte;
            self.started += 1;
            *input = rest;
        }
        let [method, flags] = self.start;
        let zlib = method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]) % 31 == 0;
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(zlib));
        while self.fed < 2 && !self.at_end {
            let mut start = &self.start[self.fed..];
            let (length, at_end) = inflate_some(inflate, &mut start, output)?;
            let stuck = start.len() == 2 - self.fed && length == 0;
            self.fed = 2 - start.len();
            self.at_end = at_end;
            if length > 0 {
                return Ok(length);
            }
            if stuck {
                return Err(Malformed);
            }
        }
        if self.at_end {
            *input = &[];
            return Ok(0);
        }
        let (length, at_end) = inflate_some(inflate, input, output)?;
        self.at_end = at_end;
        if self.at_end && length == 0 {
            *input = &[];
        }
        Ok(length)
    }
}

/// Inflates until there is output, the input is used up, or the stream ends (the second value). Zero output without
/// either does not happen.
pub(super) fn inflate_some(
    inflate: &mut Decompress,
    input: &mut &[u8],
    output: &mut [u8],
) -> Result<(usize, bool), Malformed> {
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| Malformed)?;
        let taken = (inflate.total_in() - before_in) as usize;
        let length = (inflate.total_out() - before_out) as usize;
        *input = &input[taken..];
        match status {
            Status::StreamEnd => return Ok((length, true)),
            _ if length > 0 || input.is_empty() => return Ok((length, false)),
            _ if taken == 0 => return Err(Malformed),
            _ => {}
        }
    }
}
