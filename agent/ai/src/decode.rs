//! Incremental content decoding.

use std::fmt;

mod brotli;
mod deflate;
mod gzip;
mod zstandard;

/// Output comes in pieces of at most this, however much a few bytes of input may stand for.
const WINDOW: usize = 16 * 1024;
/// Nobody nests more codings than this, save to do harm.
const CODINGS: usize = 3;

/// Why a body could not be decoded. Nothing decodes after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The `content-encoding` names a coding that is not known, or too many.
    #[error("unsupported content-encoding")]
    Unsupported,
    /// The bytes are not what the coding says.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
}

/// Undoes a `content-encoding` (RFC 9110 §8.4), piece by piece, in bounded memory.
///
/// Several gzip members or zstd frames in a row are one body; `deflate` may be zlib's format or the bare one.
pub struct Decoder {
    stages: Vec<Stage>,
    /// What stands between each stage and the next.
    links: Vec<Window>,
    window: Box<[u8]>,
    failed: Option<DecodeError>,
}

/// Output of one stage that the next has not yet taken.
struct Window {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

enum Stage {
    Gzip(Box<gzip::Gzip>),
    Deflate(Box<deflate::Deflate>),
    Brotli(Box<brotli::Brotli>),
    Zstandard(Box<zstandard::Zstandard>),
}

impl Decoder {
    /// A decoder for a `content-encoding`: gzip, x-gzip, deflate, br, zstd, identity, or a chain such as `gzip, br`.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`].
    pub fn new(content_encoding: &str) -> Result<Self, DecodeError> {
        let mut stages = Vec::new();
        // They are listed in the order in which they were applied.
        for coding in content_encoding.rsplit(',').map(str::trim) {
            let is = |name: &str| coding.eq_ignore_ascii_case(name);
            stages.push(if is("gzip") || is("x-gzip") {
                Stage::Gzip(Box::new(gzip::Gzip::new()))
            } else if is("deflate") {
                Stage::Deflate(Box::new(deflate::Deflate::new()))
            } else if is("br") {
                Stage::Brotli(Box::new(brotli::Brotli::new()))
            } else if is("zstd") {
                Stage::Zstandard(Box::new(zstandard::Zstandard::new()?))
            } else if is("identity") || coding.is_empty() {
                continue;
            } else {
                return Err(DecodeError::Unsupported);
            });
            if stages.len() > CODINGS {
                return Err(DecodeError::Unsupported);
            }
        }
        let links = (1..stages.len())
            .map(|_| Window {
                buffer: window(),
                start: 0,
                end: 0,
            })
            .collect();
        let window = if stages.is_empty() {
            Box::default()
        } else {
            window()
        };
        Ok(Self {
            stages,
            links,
            window,
            failed: None,
        })
    }

    /// Whether the bytes are as they were: no coding to undo.
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes from the front of `input`, which shrinks by what was taken, into `output`, and says how much of that
    /// was filled. Zero means that all of the input was taken and more is needed (or that `output` has no room).
    ///
    /// # Errors
    /// Where the bytes are not what the coding says.
    pub fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let read = pull(&mut self.stages, &mut self.links, input, output);
        self.failed = read.err();
        read
    }

    /// Decodes a whole piece; `sink` takes the output in windows of at most 16 KiB, or the piece itself where there
    /// is nothing to decode. To pace the output by what its reader takes, use [`read`](Self::read).
    ///
    /// # Errors
    /// Where the bytes are not what the coding says. What came before the error has reached the sink.
    pub fn push(&mut self, mut piece: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), DecodeError> {
        if self.is_identity() {
            sink(piece);
            return Ok(());
        }
        let mut window = std::mem::take(&mut self.window);
        let result = loop {
            match self.read(&mut piece, &mut window) {
                Ok(0) => break Ok(()),
                Ok(length) => sink(&window[..length]),
                Err(error) => break Err(error),
            }
        };
        self.window = window;
        result
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.stages.iter().map(Stage::name))
            .finish()
    }
}

fn window() -> Box<[u8]> {
    vec![0; WINDOW].into_boxed_slice()
}

/// Output is pulled through the chain from its end, so that no more is decoded than there is room for.
fn pull(
    stages: &mut [Stage],
    links: &mut [Window],
    input: &mut &[u8],
    output: &mut [u8],
) -> Result<usize, DecodeError> {
    let Some((last, before)) = stages.split_last_mut() else {
        let length = input.len().min(output.len());
        output[..length].copy_from_slice(&input[..length]);
        *input = &input[length..];
        return Ok(length);
    };
    let Some((link, links)) = links.split_last_mut() else {
        return last.read(input, output);
    };
    loop {
        let mut held = &link.buffer[link.start..link.end];
        let length = last.read(&mut held, output)?;
        link.start = link.end - held.len();
        if length > 0 || output.is_empty() {
            return Ok(length);
        }
        (link.start, link.end) = (0, 0);
        link.end = pull(before, links, input, &mut link.buffer)?;
        if link.end == 0 {
            return Ok(0);
        }
    }
}

impl Stage {
    fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, DecodeError> {
        if output.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Gzip(stage) => stage.read(input, output),
            Self::Deflate(stage) => stage.read(input, output),
            Self::Brotli(stage) => stage.read(input, output),
            Self::Zstandard(stage) => stage.read(input, output),
        }
        .map_err(|Malformed| DecodeError::Invalid(self.name()))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Deflate(_) => "deflate",
            Self::Brotli(_) => "br",
            Self::Zstandard(_) => "zstd",
        }
    }
}

/// The bytes are not what the coding says.
struct Malformed;

#[cfg(test)]
mod tests;
