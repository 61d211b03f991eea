//! One call of a provider, as an application would make it: by name and TLS, with a placeholder for the key. It asks for the list of models, which is free of charge.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_ai::{Dialect, Provider};
use weir_api::environment::PLACEHOLDER_KEY;

use crate::downstream::captured::ServedHost;

/// For a whole call: longer than the agent tries to connect to a provider, which then says so itself.
const LIMIT: Duration = Duration::from_secs(30);
/// Of a list of models, and more than any error takes.
const LONGEST_BODY: usize = 4 * 1024 * 1024;
/// What Anthropic wants to be told: <https://docs.anthropic.com/en/api/versioning>.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Why a call did not come through, and what mends it.
#[derive(thiserror::Error, Debug)]
pub(super) enum CallError {
    #[error(
        "{host} can't be resolved ({source}): applications dial it by that name, so the cluster's DNS, or spec.hosts of AIBackend {backend}, needs a mend"
    )]
    Unresolved {
        host: String,
        backend: String,
        source: io::Error,
    },
    #[error(
        "{host}: its certificate is not of Weir's root ({source}), so that the agent of this node did not open the connection: its log says why"
    )]
    NotOpened { host: String, source: io::Error },
    #[error("{host}: {problem}")]
    Broken { host: String, problem: String },
    #[error("{host} answered nothing within {} s", LIMIT.as_secs())]
    TimedOut { host: String },
    /// Weir's own words, which have the mend in them.
    #[error("{host}: Weir answers {status} for AIBackend {backend}: {message}")]
    Weir {
        host: String,
        backend: String,
        status: u16,
        message: String,
    },
    #[error(
        "{host}: the provider refuses the key of AIBackend {backend} ({status}: {message}): put a valid one into the Secret that its spec.auth.secretRef names"
    )]
    Key {
        host: String,
        backend: String,
        status: u16,
        message: String,
    },
    #[error("{host}: the provider, or the endpoint of AIBackend {backend}, fails ({status}: {message})")]
    Provider {
        host: String,
        backend: String,
        status: u16,
        message: String,
    },
}

/// Calls a host, and says what that has shown. `root`: Weir's, and no other, for whoever answers with another certificate is not Weir.
pub(super) async fn call(served: &ServedHost, root: Arc<RootCertStore>) -> Result<String, CallError> {
    timeout(LIMIT, open_and_ask(served, root))
        .await
        .unwrap_or_else(|_| {
            Err(CallError::TimedOut {
                host: served.host.clone(),
            })
        })
}

async fn open_and_ask(served: &ServedHost, root: Arc<RootCertStore>) -> Result<String, CallError> {
    let (host, backend) = (&served.host, &served.backend);
    let stream = open(served, root).await?;
    // A provider that is younger than this image, or a key that we don't have: there is nothing to ask for.
    let provider = Provider::from_field(&served.provider).filter(|_| served.puts_key_in);
    let Some(provider) = provider else {
        return Ok(format!(
            "{host}: opened with a certificate of Weir's; no key of AIBackend {backend}, so nothing was asked"
        ));
    };
    let (status, body) = ask(stream, host, provider)
        .await
        .map_err(|problem| CallError::Broken {
            host: host.clone(),
            problem,
        })?;
    verdict(served, status, &body)
}

async fn open(served: &ServedHost, root: Arc<RootCertStore>) -> Result<TlsStream<TcpStream>, CallError> {
    let host = &served.host;
    let broken = |problem: String| CallError::Broken {
        host: host.clone(),
        problem,
    };
    let unresolved = |source| CallError::Unresolved {
        host: host.clone(),
        backend: served.backend.clone(),
        source,
    };
    let name = ServerName::try_from(host.clone()).map_err(|error| broken(error.to_string()))?;
    let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), 443))
        .await
        .map_err(unresolved)?
        .collect();
    let stream = TcpStream::connect(&*addresses)
        .await
        .map_err(|error| broken(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(crate::trust::crypto())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(error.to_string()))?
        .with_root_certificates(root)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| match is_untrusted(&error) {
            true => CallError::NotOpened {
                host: host.clone(),
                source: error,
            },
            false => broken(error.to_string()),
        })
}

fn is_untrusted(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// The answer's status and body. The error is the connection's.
async fn ask(
    stream: TlsStream<TcpStream>,
    host: &str,
    provider: Provider,
) -> Result<(StatusCode, Bytes), String> {
    let credential = provider.dialect().credential_header();
    let value = credential
        .value(PLACEHOLDER_KEY)
        .map_err(|error| error.to_string())?;
    let mut request = Request::get(provider.models_path())
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .header(credential.name, value);
    if provider.dialect() == Dialect::Anthropic {
        request = request.header("anthropic-version", ANTHROPIC_VERSION);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // How it ended is told to whoever waits for an answer on it.
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_BODY)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

fn verdict(served: &ServedHost, status: StatusCode, body: &[u8]) -> Result<String, CallError> {
    let (host, backend, status) = (served.host.clone(), served.backend.clone(), status.as_u16());
    let error: Json = serde_json::from_slice(body).unwrap_or_default();
    let text = |member: &str| error["error"][member].as_str().unwrap_or_default().to_owned();
    let (code, message) = (text("code"), text("message"));
    if code.starts_with("weir_") {
        // A policy that lets nobody list models is one more link that holds.
        return match code.ends_with("_denied") {
            true => Ok(format!(
                "{host}: opened with a certificate of Weir's, and refused by a policy: {message}"
            )),
            false => Err(CallError::Weir {
                host,
                backend,
                status,
                message,
            }),
        };
    }
    match status {
        401 => Err(CallError::Key {
            host,
            backend,
            status,
            message,
        }),
        500.. => Err(CallError::Provider {
            host,
            backend,
            status,
            message,
        }),
        // Whatever else it says, it says to whom it knows: one with a key that may not list models, or at a path that it does not have.
        _ => Ok(format!(
            "{host}: opened with a certificate of Weir's, and answered by the provider with the key of AIBackend {backend} ({status})"
        )),
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
                Err("Weir answers 401 for AIBackend weir-system/openai: because"),
            ),
            (502, error("weir_upstream_unreachable"), Err("Weir answers 502")),
            (
                401,
                error("invalid_api_key"),
                Err("put a valid one into the Secret"),
            ),
            (503, "busy".to_owned(), Err("fails (503: )")),
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
