//! What the answer to a call shows.

use http::StatusCode;
use serde_json::Value as Json;

use crate::downstream::captured::ServedHost;

/// An answer that is not as it should be, and what mends it.
#[derive(thiserror::Error, Debug)]
#[error("{host}, AIBackend {backend}: {by} answers {status}: {message}{mend}", by = by.name(), mend = by.mend())]
pub(super) struct Refused {
    host: String,
    backend: String,
    by: By,
    status: u16,
    message: String,
}

/// Who gave it.
#[derive(Debug, Clone, Copy)]
enum By {
    /// Its words have the mend in them.
    Weir,
    /// It does not know the key.
    KeyCheck,
    Provider,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Weir => "Weir itself",
            Self::KeyCheck | Self::Provider => "the provider, or the backend's endpoint,",
        }
    }

    fn mend(self) -> &'static str {
        match self {
            Self::Weir | Self::Provider => "",
            Self::KeyCheck => ". Put a valid key into the Secret that spec.auth.secretRef names",
        }
    }
}

/// What an answer shows, where it shows that every link holds. `body`: of an error.
pub(super) fn verdict(served: &ServedHost, status: StatusCode, body: &[u8]) -> Result<String, Refused> {
    let ServedHost { host, backend, .. } = served;
    let told: Json = serde_json::from_slice(body).unwrap_or_default();
    let error = &told["error"];
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let code = text(&error["code"]);
    // Some write the message in the place of the object.
    let message = error
        .as_str()
        .map_or_else(|| text(&error["message"]), str::to_owned);
    let refused = |by| {
        Err(Refused {
            host: host.clone(),
            backend: backend.clone(),
            by,
            status: status.as_u16(),
            message: message.trim_end_matches('.').to_owned(),
        })
    };
    if code.starts_with("weir_") {
        // A policy that lets nobody ask this is one more link that holds.
        return match code.ends_with("_denied") {
            true => Ok(format!(
                "{host}: opened with a certificate of Weir's, and refused by a policy: {message}"
            )),
            false => refused(By::Weir),
        };
    }
    match status.as_u16() {
        // The last three know the key: it may not ask this, nobody may, or not so often.
        200..300 | 403 | 404 | 429 => Ok(format!(
            "{host}: opened with a certificate of Weir's, and answered by the provider with the key of AIBackend {backend} ({})",
            status.as_u16()
        )),
        401 => refused(By::KeyCheck),
        _ => refused(By::Provider),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_shows() {
        let served = ServedHost {
            host: "api.openai.com".to_owned(),
            backend: "weir-system/openai".to_owned(),
            provider: "openai".to_owned(),
            puts_key_in: true,
        };
        let error = |code: &str| format!(r#"{{"error": {{"message": "because", "code": "{code}"}}}}"#);
        for (status, body, says) in [
            (200, r#"{"data": []}"#.to_owned(), Ok("answered by the provider")),
            (403, error("missing_scope"), Ok("(403)")),
            (404, "<html>".to_owned(), Ok("(404)")),
            (403, error("weir_operation_denied"), Ok("by a policy: because")),
            (
                401,
                error("weir_no_credential"),
                Err("AIBackend weir-system/openai: Weir itself answers 401: because"),
            ),
            (
                502,
                error("weir_upstream_unreachable"),
                Err("Weir itself answers 502"),
            ),
            (
                401,
                error("invalid_api_key"),
                Err("Put a valid key into the Secret"),
            ),
            (
                400,
                r#"{"code": "x", "error": "Incorrect API key"}"#.to_owned(),
                Err("400: Incorrect API key"),
            ),
            (
                503,
                "busy".to_owned(),
                Err("the provider, or the backend's endpoint, answers 503"),
            ),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = verdict(&served, status, body.as_bytes()).map_err(|error| error.to_string());
            let (text, is_as_meant) = match (&found, says) {
                (Ok(text), Ok(says)) | (Err(text), Err(says)) => (text, text.contains(says)),
                (Ok(text) | Err(text), _) => (text, false),
            };
            assert!(is_as_meant, "{status} {body}: {text}");
        }
    }
}
