//! What the mock says, and how many tokens it takes for it: the same question always gets the same figures.

use serde_json::Value;

use super::behaviour::Behaviour;

/// Tokens of one answer, in OpenAI's sense: `input` includes `cached`, `output` includes `reasoning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt.
    pub input: u64,
    /// The part of it read from the provider's cache.
    pub cached: u64,
    /// The part of it written to the provider's cache (Anthropic).
    pub cache_written: u64,
    /// All of the answer.
    pub output: u64,
    /// The part of it that was thought and not said.
    pub reasoning: u64,
}

impl Tokens {
    /// Prompt and answer.
    pub fn total(self) -> u64 {
        self.input + self.output
    }
}

/// The answer to a prompt.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its text, in the pieces in which a stream sends it.
    pub pieces: Vec<String>,
    /// What it took.
    pub tokens: Tokens,
}

impl Answer {
    /// Answers `prompt`: its own words after a greeting, or a large text.
    pub fn to(prompt: &str, behaviour: &Behaviour) -> Self {
        let text = match behaviour.large {
            Some(length) => "weir ".repeat(length.div_ceil(5)).chars().take(length).collect(),
            None => format!("The mock heard: {prompt}"),
        };
        let pieces: Vec<String> = match behaviour.large {
            Some(_) => text
                .as_bytes()
                .chunks(1024)
                .map(|piece| String::from_utf8_lossy(piece).into_owned())
                .collect(),
            None => text.split_inclusive(' ').map(str::to_owned).collect(),
        };
        let words = prompt.split_whitespace().count() as u64;
        let said = text.split_whitespace().count() as u64;
        let cached = if behaviour.cached { 1024 } else { 0 };
        let cache_written = if behaviour.cached { 512 } else { 0 };
        let reasoning = if behaviour.reasoning { 64 } else { 0 };
        let tokens = Tokens {
            input: 9 + words + cached + cache_written,
            cached,
            cache_written,
            output: said + reasoning,
            reasoning,
        };
        Self { pieces, tokens }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// The text of the last message (chat, messages), of `input` (responses, embeddings) or of `prompt` (completions).
pub fn prompt(request: &Value) -> String {
    if let Some(messages) = request.get("messages").and_then(Value::as_array) {
        return messages
            .last()
            .and_then(|message| message.get("content"))
            .map(flatten)
            .unwrap_or_default();
    }
    request
        .get("input")
        .or_else(|| request.get("prompt"))
        .map(flatten)
        .unwrap_or_default()
}

/// Text that stands as a string, in parts, or in messages of parts.
fn flatten(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(flatten).collect::<Vec<_>>().join(" "),
        Value::Object(part) => part
            .get("text")
            .or_else(|| part.get("content"))
            .map(flatten)
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// A string as JSON, quotes included.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The dated name that a provider answers with when it is asked by an alias.
pub fn answering_model(model: &str) -> String {
    match model {
        "gpt-4o-mini" => "gpt-4o-mini-2024-07-18".to_owned(),
        "gpt-4o" => "gpt-4o-2024-08-06".to_owned(),
        "claude-sonnet-4-5" => "claude-sonnet-4-5-20250929".to_owned(),
        other => other.to_owned(),
    }
}
