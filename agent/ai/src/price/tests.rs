use proptest::prelude::{any, prop_assert, proptest};

use super::{NanoUsd, cost, find, models};
use crate::{Provider, Usage};

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
    }
}

#[test]
fn input_output_and_cache() {
    // USD 2.50, cached 1.25, output 10 per million
    let used = Usage {
        cache_read: 1000,
        ..usage(3000, 100)
    };
    let expected = 2000 * 2500 + 1000 * 1250 + 100 * 10_000;
    for model in ["gpt-4o", "gpt-4o-2024-08-06", "GPT-4o"] {
        assert_eq!(
            cost(Provider::OpenAi, model, &used),
            Some(NanoUsd(expected)),
            "{model}"
        );
    }
    // the compact date, as OpenRouter writes it
    assert_eq!(
        cost(Provider::OpenAi, "gpt-4o-20240806", &used),
        Some(NanoUsd(expected))
    );
    // audio without a price of its own is other input
    let audio = Usage {
        input_audio: 100,
        output_audio: 10,
        ..used
    };
    assert_eq!(cost(Provider::OpenAi, "gpt-4o", &audio), Some(NanoUsd(expected)));
}

#[test]
fn cache_writes() {
    // USD 1, cache read 0.10, write 1.25, for an hour 2, output 5 per million
    let used = Usage {
        cache_read: 40,
        cache_creation: 30,
        cache_creation_1h: 10,
        ..usage(100, 7)
    };
    let expected = 30 * 1000 + 40 * 100 + 20 * 1250 + 10 * 2000 + 7 * 5000;
    assert_eq!(
        cost(Provider::Anthropic, "claude-haiku-4-5-20251001", &used),
        Some(NanoUsd(expected))
    );
}

#[test]
fn a_tier_holds_for_all_tokens() {
    // USD 3 and 15, above 200,000 input tokens 6 and 22.50
    assert_eq!(
        cost(Provider::Anthropic, "claude-sonnet-4-5", &usage(200_000, 10)),
        Some(NanoUsd(600_150_000))
    );
    assert_eq!(
        cost(Provider::Anthropic, "claude-sonnet-4-5", &usage(200_001, 10)),
        Some(NanoUsd(1_200_231_000))
    );
}

#[test]
fn a_date_behind_the_name() {
    for model in ["claude-fable-5", "claude-fable-5-20260101"] {
        assert_eq!(
            cost(Provider::Anthropic, model, &usage(1, 1)),
            Some(NanoUsd(60_000))
        );
    }
    assert_eq!(cost(Provider::Anthropic, "claude-fable-5-x", &usage(1, 1)), None);
}

#[test]
fn the_price_of_the_day_at_noon() {
    // off-peak at noon UTC: USD 0.15 and 0.60
    assert_eq!(
        cost(Provider::DeepSeek, "deepseek-flash", &usage(10, 10)),
        Some(NanoUsd(7_500))
    );
}

#[test]
fn rounds_half_up_at_the_end() {
    // a million tokens at one price, one at a time, lose nothing
    let one = cost(Provider::OpenAi, "gpt-4o", &usage(1, 0)).expect("priced").0;
    assert_eq!(
        cost(Provider::OpenAi, "gpt-4o", &usage(1_000_000, 0)),
        Some(NanoUsd(one * 1_000_000))
    );
}

#[test]
fn unknown_is_unpriced() {
    for provider in Provider::ALL {
        assert_eq!(cost(*provider, "no-such-model", &usage(1, 1)), None);
        assert_eq!(cost(*provider, "", &usage(0, 0)), None);
    }
    // priced by the hour of audio
    assert_eq!(cost(Provider::Groq, "whisper-large-v3", &usage(0, 0)), None);
    assert!(find(Provider::Groq, "whisper-large-v3").is_some());
    // of a model that has a price for input only, output is unpriced
    assert!(cost(Provider::OpenAi, "text-embedding-3-small", &usage(8, 0)).is_some());
    assert_eq!(
        cost(Provider::OpenAi, "text-embedding-3-small", &usage(8, 1)),
        None
    );
}

#[test]
fn every_provider_has_prices() {
    for provider in Provider::ALL {
        assert!(!models(*provider).is_empty());
    }
    for (provider, model) in [
        (Provider::Mistral, "mistral-large-latest"),
        (Provider::OpenRouter, "anthropic/claude-sonnet-4.5"),
        (Provider::XAi, "grok-4.3"),
        (Provider::Groq, "llama-3.3-70b-versatile"),
    ] {
        assert!(
            cost(provider, model, &usage(1000, 1000)).is_some_and(|cost| cost.0 > 0),
            "{model}"
        );
    }
}

proptest! {
    #[test]
    fn no_usage_is_too_odd(model in "[a-z0-9.-]{0,20}", figures in any::<[u64; 8]>()) {
        let [input, output, cache_read, cache_creation, cache_creation_1h, reasoning, input_audio, output_audio] = figures;
        let used = Usage { input, output, cache_read, cache_creation, cache_creation_1h, reasoning, input_audio, output_audio };
        for provider in Provider::ALL {
            cost(*provider, &model, &used);
            cost(*provider, "gpt-4o", &used);
        }
        prop_assert!(cost(Provider::OpenAi, "gpt-4o", &usage(input >> 32, output >> 32)).is_some());
    }
}
