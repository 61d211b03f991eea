//! Tokens of an exchange by kind, and how each provider writes them.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

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

/// Takes what it knows, and anything else for absent, so that one odd member does not cost the rest.
struct Lenient;

enum Either {
    Number(u64),
    Object(DetailFigures),
    Neither,
}

impl<'de> Visitor<'de> for Lenient {
    type Value = Either;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Either, E> {
        Ok(Either::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Either, E> {
        Ok(Either::Neither) // positive ones come as u64
    }

    fn visit_f64<E>(self, number: f64) -> Result<Either, E> {
        Ok(if number >= 0.0 {
            Either::Number(number.round() as u64)
        } else {
            Either::Neither
        })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_str<E>(self, _: &str) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_unit<E>(self) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Either, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Either::Neither)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Either, A::Error> {
        DetailFigures::deserialize(MapAccessDeserializer::new(members)).map(Either::Object)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Lenient)? {
            Either::Number(number) => Self(Some(number)),
            _ => Self(None),
        })
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Lenient)? {
            Either::Object(figures) => Self(figures),
            _ => Self::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{InputFigure, Usage, WireUsage};
    use crate::testing::json_text;

    fn read(json: &str, figure: InputFigure) -> Option<Usage> {
        WireUsage::parse(json.as_bytes())?.usage(figure)
    }

    /// Answers as the providers document them.
    #[test]
    fn documented_figures() {
        for (json, usage) in [
            // OpenAI chat completions
            (
                r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
                    "prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":5},
                    "completion_tokens_details":{"reasoning_tokens":128,"audio_tokens":7,"accepted_prediction_tokens":0}}"#,
                Usage {
                    input: 2006,
                    output: 300,
                    cache_read: 1920,
                    reasoning: 128,
                    input_audio: 5,
                    output_audio: 7,
                    ..Usage::default()
                },
            ),
            // OpenAI responses
            (
                r#"{"input_tokens":328,"input_tokens_details":{"cached_tokens":64},"output_tokens":52,
                    "output_tokens_details":{"reasoning_tokens":20},"total_tokens":380}"#,
                Usage {
                    input: 328,
                    output: 52,
                    cache_read: 64,
                    reasoning: 20,
                    ..Usage::default()
                },
            ),
            // OpenRouter, with a cache write
            (
                r#"{"prompt_tokens":10339,"completion_tokens":60,"total_tokens":10399,"cost":0.01,
                    "prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":10000}}"#,
                Usage {
                    input: 10339,
                    output: 60,
                    cache_read: 100,
                    cache_creation: 10000,
                    ..Usage::default()
                },
            ),
            // embeddings
            (
                r#"{"prompt_tokens":8,"total_tokens":8}"#,
                Usage {
                    input: 8,
                    ..Usage::default()
                },
            ),
            (
                r#"{"total_tokens":8}"#,
                Usage {
                    input: 8,
                    ..Usage::default()
                },
            ),
            // DeepSeek
            (
                r#"{"completion_tokens":10,"prompt_tokens":16,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":10,"total_tokens":26}"#,
                Usage {
                    input: 16,
                    output: 10,
                    cache_read: 6,
                    ..Usage::default()
                },
            ),
            // xAI: reasoning beside the completion
            (
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
                    "prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":6},
                    "completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0}}"#,
                Usage {
                    input: 32,
                    output: 103,
                    cache_read: 6,
                    reasoning: 94,
                    ..Usage::default()
                },
            ),
        ] {
            assert_eq!(read(json, InputFigure::IncludesCache), Some(usage), "{json}");
        }
        // Anthropic
        let json = r#"{"input_tokens":2048,"cache_read_input_tokens":1800,"cache_creation_input_tokens":248,
            "cache_creation":{"ephemeral_5m_input_tokens":148,"ephemeral_1h_input_tokens":100},"output_tokens":503,
            "output_tokens_details":{"thinking_tokens":30},"service_tier":"standard","server_tool_use":{"web_search_requests":1}}"#;
        let usage = Usage {
            input: 4096,
            output: 503,
            cache_read: 1800,
            cache_creation: 248,
            cache_creation_1h: 100,
            reasoning: 30,
            ..Usage::default()
        };
        assert_eq!(read(json, InputFigure::ExcludesCache), Some(usage));
    }

    #[test]
    fn zero_is_a_figure_and_absence_is_not() {
        assert_eq!(read("{}", InputFigure::IncludesCache), None);
        assert_eq!(read("7", InputFigure::IncludesCache), None);
        assert_eq!(
            read(
                r#"{"prompt_tokens":null,"completion_tokens":"many"}"#,
                InputFigure::IncludesCache
            ),
            None
        );
        assert_eq!(
            read(r#"{"prompt_tokens":0}"#, InputFigure::IncludesCache),
            Some(Usage::default())
        );
        let odd = r#"{"prompt_tokens":3.0,"completion_tokens":-1,"prompt_tokens_details":[{}],"completion_tokens_details":null}"#;
        assert_eq!(
            read(odd, InputFigure::IncludesCache),
            Some(Usage {
                input: 3,
                ..Usage::default()
            })
        );
    }

    #[test]
    fn later_figures_replace() {
        let mut usage = WireUsage::default();
        for json in [
            r#"{"input_tokens":25,"cache_read_input_tokens":4,"output_tokens":1}"#,
            r#"{"output_tokens":15}"#,
            r#"{"input_tokens":26,"output_tokens":17,"cache_read_input_tokens":null}"#,
        ] {
            usage.replace(&WireUsage::parse(json.as_bytes()).expect("an object"));
        }
        let expected = Usage {
            input: 30,
            output: 17,
            cache_read: 4,
            ..Usage::default()
        };
        assert_eq!(usage.usage(InputFigure::ExcludesCache), Some(expected));
    }

    proptest! {
        #[test]
        fn any_json_is_survived(json in json_text()) {
            read(&json, InputFigure::ExcludesCache);
        }
    }
}
