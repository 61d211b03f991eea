//! The providers that Weir knows: one table, the single truth about their names, hosts, dialects and keys.

use crate::Dialect;

/// A provider of models. What is known about each stands in one row of a table in this file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Provider {
    /// OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// DeepSeek.
    DeepSeek,
    /// Groq.
    Groq,
    /// Mistral AI.
    Mistral,
    /// OpenRouter.
    OpenRouter,
    /// xAI.
    XAi,
}

struct Row {
    provider: Provider,
    field: &'static str,
    otel_name: &'static str,
    hosts: &'static [&'static str],
    free_path: &'static str,
    dialect: Dialect,
    key_variables: &'static [&'static str],
    stream_usage_on_request: bool,
}

/// In the order of the enum, so that a provider is its own index (a test holds this).
const TABLE: [Row; 7] = [
    Row {
        provider: Provider::OpenAi,
        field: "openai",
        otel_name: "openai",
        hosts: &["api.openai.com"],
        free_path: "/v1/models",
        dialect: Dialect::OpenAi,
        key_variables: &["OPENAI_API_KEY"],
        stream_usage_on_request: true,
    },
    Row {
        provider: Provider::Anthropic,
        field: "anthropic",
        otel_name: "anthropic",
        hosts: &["api.anthropic.com"],
        free_path: "/v1/models",
        dialect: Dialect::Anthropic,
        key_variables: &["ANTHROPIC_API_KEY"],
        stream_usage_on_request: true, // at its OpenAI-compatible path; messages always report
    },
    Row {
        provider: Provider::DeepSeek,
        field: "deepseek",
        otel_name: "deepseek",
        hosts: &["api.deepseek.com"],
        free_path: "/models",
        dialect: Dialect::OpenAi,
        key_variables: &["DEEPSEEK_API_KEY"],
        stream_usage_on_request: true,
    },
    Row {
        provider: Provider::Groq,
        field: "groq",
        otel_name: "groq",
        hosts: &["api.groq.com"],
        free_path: "/openai/v1/models",
        dialect: Dialect::OpenAi,
        key_variables: &["GROQ_API_KEY"],
        stream_usage_on_request: false, // the last chunk always has x_groq.usage
    },
    Row {
        provider: Provider::Mistral,
        field: "mistral",
        otel_name: "mistral_ai",
        hosts: &["api.mistral.ai"],
        free_path: "/v1/models",
        dialect: Dialect::OpenAi,
        key_variables: &["MISTRAL_API_KEY"],
        stream_usage_on_request: false, // always in the last chunk; it refuses members that it does not know
    },
    Row {
        provider: Provider::OpenRouter,
        field: "openrouter",
        otel_name: "openrouter",
        hosts: &["openrouter.ai"],
        free_path: "/api/v1/key", // its list of models is for anybody
        dialect: Dialect::OpenAi,
        key_variables: &["OPENROUTER_API_KEY"],
        stream_usage_on_request: true,
    },
    Row {
        provider: Provider::XAi,
        field: "xai",
        otel_name: "x_ai",
        hosts: &["api.x.ai"],
        free_path: "/v1/models",
        dialect: Dialect::OpenAi,
        key_variables: &["XAI_API_KEY"],
        stream_usage_on_request: true,
    },
];

impl Provider {
    /// Every provider, in the order of the enum.
    pub const ALL: &'static [Self] = &[
        Self::OpenAi,
        Self::Anthropic,
        Self::DeepSeek,
        Self::Groq,
        Self::Mistral,
        Self::OpenRouter,
        Self::XAi,
    ];

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The key under `spec.provider` of an AIBackend, such as `openai`.
    pub fn field(self) -> &'static str {
        self.row().field
    }

    /// The provider whose [`field`](Self::field) is `field`, exactly.
    pub fn from_field(field: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.field == field)
            .map(|row| row.provider)
    }

    /// OpenTelemetry's `gen_ai.provider.name`.
    pub fn otel_name(self) -> &'static str {
        self.row().otel_name
    }

    /// The host names that its clients dial, lower-case, without a port.
    pub fn hosts(self) -> &'static [&'static str] {
        self.row().hosts
    }

    /// A path that is free of charge to ask, and answers only to a key that is good: the list of models, where that is not public.
    pub fn free_path(self) -> &'static str {
        self.row().free_path
    }

    /// The wire format that its errors and credentials follow.
    pub fn dialect(self) -> Dialect {
        self.row().dialect
    }

    /// The environment variables from which its SDKs take the key, and without which they refuse to start.
    pub fn key_variables(self) -> &'static [&'static str] {
        self.row().key_variables
    }

    /// Whether its chat streams report usage only if the request's `stream_options.include_usage` asks for it.
    /// Where this is false [`RequestScan::usage_splice`](crate::RequestScan::usage_splice) must not be applied:
    /// it gains nothing, and Mistral refuses a request with a member that it does not know.
    pub fn stream_usage_on_request(self) -> bool {
        self.row().stream_usage_on_request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_enum() {
        assert_eq!(Provider::ALL.len(), TABLE.len());
        for (&provider, row) in Provider::ALL.iter().zip(&TABLE) {
            assert_eq!(provider, row.provider);
            assert_eq!(provider.row().provider, provider);
            assert_eq!(Provider::from_field(provider.field()), Some(provider));
        }
    }

    #[test]
    fn fields_and_hosts_are_unique_and_lower_case() {
        let mut fields: Vec<_> = TABLE.iter().map(|row| row.field).collect();
        let mut hosts: Vec<_> = TABLE.iter().flat_map(|row| row.hosts).copied().collect();
        for names in [&mut fields, &mut hosts] {
            let count = names.len();
            assert!(names.iter().all(|name| name.to_lowercase() == *name));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        assert_eq!(Provider::from_field("OpenAI"), None);
    }
}
