//! From a request to its answer: which dialect, is the key right, which endpoint.

use serde_json::Value;

use super::behaviour::Behaviour;
use super::reply::{Body, Reply, Step};
use super::{Settings, anthropic, openai, responses};

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// As received.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// Answers that are begun before the request's body was read.
pub fn before_body(settings: &Settings, head: &Head) -> Option<Reply> {
    let path = head.path_only();
    if path.ends_with("/mock/echo") {
        let headers = vec![("Content-Type".to_owned(), "application/octet-stream".to_owned())];
        return Some(Reply {
            status: 200,
            headers,
            body: Body::Echo,
        });
    }
    if path.ends_with("/realtime") && head.header("upgrade").is_some() {
        let garbage: &[u8] = if head.path.contains("garbage") {
            b"\x00\xffGARBAGE\r\n\r\n"
        } else {
            b""
        };
        let headers = vec![
            ("Connection".to_owned(), "Upgrade".to_owned()),
            (
                "Upgrade".to_owned(),
                head.header("upgrade").unwrap_or("websocket").to_owned(),
            ),
        ];
        return Some(Reply {
            status: 101,
            headers,
            body: Body::Upgrade(garbage.into()),
        });
    }
    // The path says it too, since the model's name is only known once the body was read.
    path.ends_with("/mock/early")
        .then(|| unauthorised(settings, head).unwrap_or_else(|| openai::error_of_status(429)))
}

/// The answer to a request whose body was read whole; `None` asks for a close without an answer.
pub fn answer(settings: &Settings, head: &Head, body: &[u8]) -> Option<Reply> {
    let path = head.path_only();
    let Some(tail) = tail(path) else {
        return Some(elsewhere(settings, head));
    };
    if let Some(refusal) = unauthorised(settings, head) {
        return Some(refusal);
    }
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    if tail == "/models" {
        // Announces HTTP/3, as the real ones do: a proxy that cannot carry it has to take that away.
        return Some(openai::models().header("Alt-Svc", "h3=\":443\"; ma=86400"));
    }
    let anthropic = is_anthropic(head);
    let Some(model) = request.get("model").and_then(Value::as_str) else {
        return Some(if anthropic {
            anthropic::error(400, "invalid_request_error", "model: Field required")
        } else {
            openai::error(
                400,
                "you must provide a model parameter",
                "invalid_request_error",
                "missing_model",
            )
        });
    };
    let Some(behaviour) = Behaviour::of(model) else {
        return Some(if anthropic {
            anthropic::error(404, "not_found_error", &format!("model: {model}"))
        } else {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            openai::error(404, &message, "invalid_request_error", "model_not_found")
        });
    };
    if behaviour.gone {
        return None;
    }
    if behaviour.silent {
        let headers = Vec::new();
        return Some(Reply {
            status: 0,
            headers,
            body: Body::Steps(Box::new(std::iter::once(Step::Hold))),
        });
    }
    if let Some(status) = behaviour.status {
        let reply = if anthropic {
            anthropic::error_of_status(status)
        } else {
            openai::error_of_status(status)
        };
        return Some(behaviour.bend(reply, None));
    }
    let reply = match tail {
        "/chat/completions" => openai::chat(&request, model, &behaviour),
        "/completions" => openai::completion(&request, model, &behaviour),
        "/responses" => responses::create(&request, model, &behaviour),
        "/embeddings" => openai::embeddings(&request, model, &behaviour),
        "/messages" => anthropic::messages(&request, model, &behaviour),
        _ => anthropic::count_tokens(&request, &behaviour),
    };
    // In peculiar case and place, so that a test can see whether a proxy keeps them.
    Some(
        reply
            .header("x-Request-ID", "req_mock1")
            .header("openai-processing-MS", "1"),
    )
}

/// Which endpoint a path ends in, whatever its prefix.
fn tail(path: &str) -> Option<&'static str> {
    [
        "/chat/completions",
        "/completions",
        "/responses",
        "/embeddings",
        "/models",
        "/messages/count_tokens",
        "/messages",
    ]
    .into_iter()
    .find(|tail| path.ends_with(tail))
}

fn is_anthropic(head: &Head) -> bool {
    head.path_only().contains("/messages") || head.header("anthropic-version").is_some()
}

fn unauthorised(settings: &Settings, head: &Head) -> Option<Reply> {
    let key = settings.key.as_deref()?;
    if is_anthropic(head) {
        return match head.header("x-api-key") {
            Some(sent) if sent == key => None,
            Some(_) => Some(anthropic::error(401, "authentication_error", "invalid x-api-key")),
            None => Some(anthropic::error(
                401,
                "authentication_error",
                "x-api-key header is required",
            )),
        };
    }
    match head.header("authorization") {
        Some(sent) if sent.strip_prefix("Bearer ") == Some(key) => None,
        Some(_) => Some(openai::error(
            401,
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            "invalid_api_key",
        )),
        None => Some(openai::error(
            401,
            "You didn't provide an API key.",
            "invalid_request_error",
            "missing_api_key",
        )),
    }
}

/// Hosts that are no provider's get a plain page, so that relayed names can be told apart.
fn elsewhere(settings: &Settings, head: &Head) -> Reply {
    if matches!(head.path_only(), "/" | "/hello") {
        let host = head
            .header(":authority")
            .or_else(|| head.header("host"))
            .unwrap_or("nobody");
        let body = format!("{} greets the visitor of {host}\n", settings.name);
        let headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
        return Reply {
            status: 200,
            headers,
            body: Body::Full(body.into()),
        };
    }
    let message = format!("Invalid URL ({} {})", head.method, head.path_only());
    openai::error(404, &message, "invalid_request_error", "unknown_url")
}
