//! Tokens of an exchange by kind.

/// Tokens of an exchange, the same meaning for every provider.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// All input tokens, those read from and written to a cache included.
    pub input: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Of `input`: read from a cache.
    pub cache_read: u64,
    /// Of `input`: written to a cache.
    pub cache_creation: u64,
    /// Of `cache_creation`: written to live for an hour (Anthropic).
    pub cache_creation_1h: u64,
    /// Of `output`: reasoning.
    pub reasoning: u64,
    /// Of `input`: audio.
    pub input_audio: u64,
    /// Of `output`: audio.
    pub output_audio: u64,
}
