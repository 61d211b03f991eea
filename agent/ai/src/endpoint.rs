//! What a request asks for, known from its method and path.

use http::Method;

use crate::Dialect;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// `POST …/chat/completions`.
    ChatCompletions,
    /// `POST …/completions`: the legacy text completions, and Mistral's fill-in-the-middle.
    Completions,
    /// `POST …/responses` and `…/responses/compact`.
    Responses,
    /// `POST …/embeddings`.
    Embeddings,
    /// `GET …/models` and `…/models/NAME`.
    Models,
    /// Anthropic's `POST …/v1/messages`.
    Messages,
    /// `POST …/v1/messages/count_tokens` and `…/responses/input_tokens`: counts tokens, uses none.
    CountTokens,
    /// Anything else.
    Other,
}

impl Endpoint {
    /// What a request asks for, by the end of its path: what stands before differs (`/v1/…`, `/openai/v1/…`,
    /// `/api/v1/…`). A query and one trailing slash are ignored. Dialects do not matter: Anthropic's host also
    /// serves `/v1/chat/completions`, and OpenRouter's and xAI's serve `/v1/messages`.
    pub fn of(method: &Method, path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        if method == Method::GET {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            return match path.ends_with("/models") || parent.ends_with("/models") {
                true => Self::Models,
                false => Self::Other,
            };
        }
        if method != Method::POST {
            return Self::Other;
        }
        const ENDS: &[(&str, Endpoint)] = &[
            ("/chat/completions", Endpoint::ChatCompletions),
            ("/completions", Endpoint::Completions),
            ("/responses", Endpoint::Responses),
            ("/responses/compact", Endpoint::Responses),
            ("/responses/input_tokens", Endpoint::CountTokens),
            ("/embeddings", Endpoint::Embeddings),
            // with the version: OpenAI's assistants have `/v1/threads/ID/messages`
            ("/v1/messages", Endpoint::Messages),
            ("/v1/messages/count_tokens", Endpoint::CountTokens),
        ];
        ENDS.iter()
            .find(|(end, _)| path.ends_with(end))
            .map_or(Self::Other, |(_, endpoint)| *endpoint)
    }

    /// OpenTelemetry's `gen_ai.operation.name`; `None` where no model works.
    pub fn operation(self) -> Option<&'static str> {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Messages => Some("chat"),
            Self::Completions => Some("text_completion"),
            Self::Embeddings => Some("embeddings"),
            Self::Models | Self::CountTokens | Self::Other => None,
        }
    }

    /// Whether its request body is a JSON object that names a model.
    pub fn reads_request(self) -> bool {
        !matches!(self, Self::Models | Self::Other)
    }

    /// Whether a successful answer is expected to carry usage.
    pub fn counts_tokens(self) -> bool {
        self.operation().is_some()
    }

    /// The dialect in which its clients expect errors, where the path tells; else the provider's holds.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Embeddings => {
                Some(Dialect::OpenAi)
            }
            Self::Messages => Some(Dialect::Anthropic),
            Self::Models | Self::CountTokens | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_by_path() {
        for (method, path, endpoint) in [
            ("POST", "/v1/chat/completions", Endpoint::ChatCompletions),
            ("POST", "/openai/v1/chat/completions", Endpoint::ChatCompletions),
            (
                "POST",
                "/api/v1/chat/completions?beta=1",
                Endpoint::ChatCompletions,
            ),
            ("POST", "/chat/completions/", Endpoint::ChatCompletions),
            ("POST", "/v1/chat/completions/chatcmpl-1", Endpoint::Other),
            ("GET", "/v1/chat/completions", Endpoint::Other),
            ("POST", "/v1/completions", Endpoint::Completions),
            ("POST", "/v1/fim/completions", Endpoint::Completions),
            ("POST", "/v1/responses", Endpoint::Responses),
            ("POST", "/v1/responses/compact", Endpoint::Responses),
            ("POST", "/v1/responses/resp_1/cancel", Endpoint::Other),
            ("POST", "/v1/responses/input_tokens", Endpoint::CountTokens),
            ("GET", "/v1/responses/resp_1", Endpoint::Other),
            ("POST", "/v1/embeddings", Endpoint::Embeddings),
            ("GET", "/v1/models", Endpoint::Models),
            ("GET", "/v1/models?limit=20", Endpoint::Models),
            ("GET", "/v1/models/gpt-4o", Endpoint::Models),
            ("DELETE", "/v1/models/ft:gpt-4o", Endpoint::Other),
            ("POST", "/v1/messages", Endpoint::Messages),
            ("POST", "/v1/messages?beta=true", Endpoint::Messages),
            ("POST", "/anthropic/v1/messages", Endpoint::Messages),
            ("POST", "/v1/messages/count_tokens", Endpoint::CountTokens),
            ("POST", "/v1/messages/batches", Endpoint::Other),
            ("POST", "/v1/threads/thread_1/messages", Endpoint::Other),
            ("POST", "/v1/audio/transcriptions", Endpoint::Other),
            ("POST", "", Endpoint::Other),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(Endpoint::of(&method, path), endpoint, "{method} {path}");
        }
    }
}
