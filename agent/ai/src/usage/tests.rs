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
