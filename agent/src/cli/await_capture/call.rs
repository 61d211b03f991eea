//! One call of a provider, as an application would make it: by name and TLS, with a placeholder for the key. What it asks for is free of charge.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_ai::{Dialect, Provider};
use weir_api::environment::PLACEHOLDER_KEY;

use super::verdict::{Refused, verdict};
use crate::downstream::captured::ServedHost;

/// For a whole call: longer than the agent tries to connect to a provider, which then says so itself.
const LIMIT: Duration = Duration::from_secs(30);
/// More than an error takes. Of what is no error the status says all.
const LONGEST_ERROR: usize = 64 * 1024;
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
    #[error(transparent)]
    Refused(#[from] Refused),
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
    let (status, body) = request(stream, host, provider)
        .await
        .map_err(|problem| CallError::Broken {
            host: host.clone(),
            problem,
        })?;
    Ok(verdict(served, status, &body)?)
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

/// The answer's status, and the body of an error. An error of this is the connection's.
async fn request(
    stream: TlsStream<TcpStream>,
    host: &str,
    provider: Provider,
) -> Result<(StatusCode, Bytes), String> {
    let credential = provider.dialect().credential_header();
    let value = credential
        .value(PLACEHOLDER_KEY)
        .map_err(|error| error.to_string())?;
    let mut request = Request::get(provider.free_path())
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
    if status.is_success() {
        return Ok((status, Bytes::new()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ERROR)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}
