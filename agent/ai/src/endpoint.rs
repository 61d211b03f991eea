//! What a request asks for, known from its method and path.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

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
    ///
    /// A path is taken as a lenient server would: letters may be percent-encoded or capitals, and segments empty or dots. Else a policy that denies
    /// an operation would not know it in disguise.
    pub fn of(method: &Method, path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = normalized(path);
        let path = path.strip_suffix('/').unwrap_or(&path);
        if method == Method::GET {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            return match ends_with(path, "/models") || ends_with(parent, "/models") {
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
            .find(|(end, _)| ends_with(path, end))
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

/// Whatever the case of its ASCII letters.
fn ends_with(path: &str, end: &str) -> bool {
    path.len()
        .checked_sub(end.len())
        .and_then(|start| path.as_bytes().get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
}

/// RFC 3986 §6.2.2, and empty segments dropped. Nearly every path is as it comes.
fn normalized(path: &str) -> Cow<'_, str> {
    let plain = !path.contains('%') && !path.contains("//") && !path.contains("/.");
    if plain {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    Cow::Owned(segments.iter().flat_map(|segment| ["/", segment]).collect())
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
            ("POST", "/v1/chat//completions//", Endpoint::ChatCompletions),
            ("POST", "/v1/chat/x/.././completions", Endpoint::ChatCompletions),
            ("POST", "/V1/Chat/Completions", Endpoint::ChatCompletions),
            ("POST", "/v1/embedding%73", Endpoint::Embeddings),
            ("POST", "/v1%2Fembeddings%2f", Endpoint::Embeddings),
            ("POST", "/v1/embeddings/..", Endpoint::Other),
            ("POST", "/v1/embeddings%", Endpoint::Other),
            ("POST", "/%ff/..//é", Endpoint::Other),
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
