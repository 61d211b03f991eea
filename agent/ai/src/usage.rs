//! Tokens of an exchange by kind, and how each provider writes them.

use serde::Deserialize;

mod lenient;

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

/// Whether the input figure has the tokens of the cache in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InputFigure {
    /// OpenAI and those who follow it.
    IncludesCache,
    /// Anthropic.
    ExcludesCache,
}

/// A `usage` object as it is written, or several of them laid over each other. An absent figure is `None`, an explicit
/// zero is zero; figures that are no number are absent.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(default)]
pub(crate) struct WireUsage {
    prompt_tokens: Figure,
    input_tokens: Figure,
    completion_tokens: Figure,
    output_tokens: Figure,
    total_tokens: Figure,
    prompt_tokens_details: Details,
    input_tokens_details: Details,
    completion_tokens_details: Details,
    output_tokens_details: Details,
    /// DeepSeek, beside `prompt_tokens_details`.
    prompt_cache_hit_tokens: Figure,
    cache_read_input_tokens: Figure,
    cache_creation_input_tokens: Figure,
    cache_creation: Details,
}

/// The figures of all `…_details` objects and of Anthropic's `cache_creation`.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Details(DetailFigures);

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(default)]
struct DetailFigures {
    cached_tokens: Figure,
    /// OpenAI and OpenRouter.
    cache_write_tokens: Figure,
    audio_tokens: Figure,
    reasoning_tokens: Figure,
    /// Anthropic.
    thinking_tokens: Figure,
    ephemeral_5m_input_tokens: Figure,
    ephemeral_1h_input_tokens: Figure,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Figure(Option<u64>);

impl Figure {
    fn replace(&mut self, newer: Self) {
        self.0 = newer.0.or(self.0);
    }

    fn get(self) -> u64 {
        self.0.unwrap_or(0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }
}

impl WireUsage {
    /// Reads a `usage` object; `None` where it is something else.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Lays a later object over this one: each figure that it has replaces ours. Streams repeat cumulative figures, so
    /// that adding would count twice.
    pub(crate) fn replace(&mut self, newer: &Self) {
        let Self {
            prompt_tokens,
            input_tokens,
            completion_tokens,
            output_tokens,
            total_tokens,
            prompt_tokens_details,
            input_tokens_details,
            completion_tokens_details,
            output_tokens_details,
            prompt_cache_hit_tokens,
            cache_read_input_tokens,
            cache_creation_input_tokens,
            cache_creation,
        } = newer;
        self.prompt_tokens.replace(*prompt_tokens);
        self.input_tokens.replace(*input_tokens);
        self.completion_tokens.replace(*completion_tokens);
        self.output_tokens.replace(*output_tokens);
        self.total_tokens.replace(*total_tokens);
        self.prompt_tokens_details.replace(prompt_tokens_details);
        self.input_tokens_details.replace(input_tokens_details);
        self.completion_tokens_details.replace(completion_tokens_details);
        self.output_tokens_details.replace(output_tokens_details);
        self.prompt_cache_hit_tokens.replace(*prompt_cache_hit_tokens);
        self.cache_read_input_tokens.replace(*cache_read_input_tokens);
        self.cache_creation_input_tokens
            .replace(*cache_creation_input_tokens);
        self.cache_creation.replace(cache_creation);
    }

    /// What it comes to; `None` where no figure of input, output or their total is there.
    pub(crate) fn usage(&self, figure: InputFigure) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.input_tokens);
        let output = self.completion_tokens.or(self.output_tokens);
        let total = self.total_tokens.0;
        input.0.or(output.0).or(total)?;
        let of_input = self.prompt_tokens_details.or(&self.input_tokens_details);
        let of_output = self.completion_tokens_details.or(&self.output_tokens_details);
        let of_cache = &self.cache_creation.0;
        let reasoning = of_output.reasoning_tokens.or(of_output.thinking_tokens).get();
        let cache_creation_1h = of_cache.ephemeral_1h_input_tokens.get();
        let mut usage = Usage {
            input: input
                .0
                .or_else(|| Some(total?.saturating_sub(output.get())))
                .unwrap_or(0),
            output: output.get(),
            cache_read: self
                .cache_read_input_tokens
                .or(of_input.cached_tokens)
                .or(self.prompt_cache_hit_tokens)
                .get(),
            cache_creation: self
                .cache_creation_input_tokens
                .or(of_input.cache_write_tokens)
                .0
                .unwrap_or_else(|| {
                    of_cache
                        .ephemeral_5m_input_tokens
                        .get()
                        .saturating_add(cache_creation_1h)
                }),
            cache_creation_1h,
            reasoning,
            input_audio: of_input.audio_tokens.get(),
            output_audio: of_output.audio_tokens.get(),
        };
        if figure == InputFigure::ExcludesCache {
            usage.input = usage
                .input
                .saturating_add(usage.cache_read)
                .saturating_add(usage.cache_creation);
        }
        // xAI's chat figures leave reasoning out of the completion; its total has it
        let with_reasoning = usage.input.saturating_add(usage.output).saturating_add(reasoning);
        if reasoning > 0 && total == Some(with_reasoning) {
            usage.output = usage.output.saturating_add(reasoning);
        }
        Some(usage)
    }
}

impl Details {
    fn replace(&mut self, newer: &Self) {
        self.0 = newer.or(self);
    }

    fn or(&self, other: &Self) -> DetailFigures {
        DetailFigures {
            cached_tokens: self.0.cached_tokens.or(other.0.cached_tokens),
            cache_write_tokens: self.0.cache_write_tokens.or(other.0.cache_write_tokens),
            audio_tokens: self.0.audio_tokens.or(other.0.audio_tokens),
            reasoning_tokens: self.0.reasoning_tokens.or(other.0.reasoning_tokens),
            thinking_tokens: self.0.thinking_tokens.or(other.0.thinking_tokens),
            ephemeral_5m_input_tokens: self
                .0
                .ephemeral_5m_input_tokens
                .or(other.0.ephemeral_5m_input_tokens),
            ephemeral_1h_input_tokens: self
                .0
                .ephemeral_1h_input_tokens
                .or(other.0.ephemeral_1h_input_tokens),
        }
    }
}

#[cfg(test)]
mod tests;
