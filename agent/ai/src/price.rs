//! What an exchange cost, from the vendored data of genai-prices: see `prices/README.md` for its version and for what is
//! left out.
//!
//! The prices are those of the provider's standard tier, in force on the day that the data was taken and, where they
//! depend on the time of day (DeepSeek), at noon UTC: this crate has no clock.

mod rules;

use std::cell::RefCell;

use rules::{Glyph, Match, normalise_date};

use crate::{Provider, Usage};

include!(concat!(env!("OUT_DIR"), "/prices.rs"));

/// An amount of money: 1 USD is 1,000,000,000 of it.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NanoUsd(pub u64);

struct Model {
    matched: Match,
    prices: &'static [Price],
}

/// Nano-USD per million tokens.
struct Price {
    kind: Kind,
    base: u64,
    /// From more than so many input tokens on, all tokens have this price; ascending.
    tiers: &'static [(u64, u64)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input,
    Output,
    CacheRead,
    CacheCreation,
    CacheCreation1h,
    InputAudio,
    OutputAudio,
    Reasoning,
}

/// What `usage` cost, rounded half up to the next nano-USD; `None` where the model is unpriced, which is not the same as
/// free: it is unknown, or has no price for a kind of tokens that were used.
///
/// Tokens read from a cache, written to one, of audio and of reasoning have prices of their own where the provider has
/// them, and else that of other input or output.
pub fn cost(provider: Provider, model: &str, usage: &Usage) -> Option<NanoUsd> {
    let prices = Prices {
        rows: find(provider, model)?.prices,
        input: usage.input,
    };
    let hour = usage.cache_creation_1h.min(usage.cache_creation);
    let other_input = usage
        .input
        .saturating_sub(usage.cache_read)
        .saturating_sub(usage.cache_creation)
        .saturating_sub(usage.input_audio);
    // Only where reasoning has its own price is it to be told from the rest.
    let reasoning = if prices.has(Kind::Reasoning) {
        usage.reasoning
    } else {
        0
    };
    let other_output = usage
        .output
        .saturating_sub(usage.output_audio)
        .saturating_sub(reasoning);
    let parts: [(u64, &[Kind]); 8] = [
        (other_input, &[Kind::Input]),
        (usage.cache_read, &[Kind::CacheRead, Kind::Input]),
        (usage.cache_creation - hour, &[Kind::CacheCreation, Kind::Input]),
        (hour, &[Kind::CacheCreation1h, Kind::CacheCreation, Kind::Input]),
        (usage.input_audio, &[Kind::InputAudio, Kind::Input]),
        (other_output, &[Kind::Output]),
        (usage.output_audio, &[Kind::OutputAudio, Kind::Output]),
        (reasoning, &[Kind::Reasoning]),
    ];
    let mut cost: u128 = 0;
    for (tokens, kinds) in parts {
        if tokens > 0 {
            let price = kinds.iter().find_map(|kind| prices.of(*kind))?;
            cost += u128::from(tokens) * u128::from(price);
        }
    }
    // A model with no price for tokens at all (it may be priced by the second) is unpriced, whatever was used.
    if prices.rows.is_empty() {
        return None;
    }
    u64::try_from((cost + 500_000) / 1_000_000).ok().map(NanoUsd)
}

struct Prices {
    rows: &'static [Price],
    input: u64,
}

impl Prices {
    fn of(&self, kind: Kind) -> Option<u64> {
        let row = self.rows.iter().find(|row| row.kind == kind)?;
        let tier = row.tiers.iter().rev().find(|(start, _)| self.input > *start);
        Some(tier.map_or(row.base, |(_, price)| *price))
    }

    fn has(&self, kind: Kind) -> bool {
        self.rows.iter().any(|row| row.kind == kind)
    }
}

fn models(provider: Provider) -> &'static [Model] {
    match provider {
        Provider::OpenAi => OPENAI,
        Provider::Anthropic => ANTHROPIC,
        Provider::DeepSeek => DEEPSEEK,
        Provider::Groq => GROQ,
        Provider::Mistral => MISTRAL,
        Provider::OpenRouter => OPENROUTER,
        Provider::XAi => X_AI,
    }
}

thread_local! {
    /// What was found last: most programs call one model, and its name is held against dozens of rules each time.
    static LAST: RefCell<Option<(Provider, String, Option<&'static Model>)>> = const { RefCell::new(None) };
}

fn find(provider: Provider, model: &str) -> Option<&'static Model> {
    LAST.with_borrow_mut(|last| match last {
        Some((known, name, found)) if *known == provider && name == model => *found,
        _ => {
            let found = find_by_rules(provider, model);
            *last = Some((provider, model.to_owned(), found));
            found
        }
    })
}

/// The first model whose rule matches; failing that, the first for the name with its date written `2025-12-11`.
fn find_by_rules(provider: Provider, model: &str) -> Option<&'static Model> {
    let name = model.to_lowercase();
    let matching = |name: &str| models(provider).iter().find(|model| model.matched.is_match(name));
    matching(&name).or_else(|| matching(&normalise_date(&name)?))
}

#[cfg(test)]
mod tests;
