//! Answers of Weir's own, in the dialect of the host that the app called.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use weir_ai::{Dialect, ErrorReply};

use super::admit::MOST_HEAD_BYTES;
use super::permission::DeniedModel;
use super::response_body::AnswerBody;
use crate::upstream::UpstreamError;

/// Read by the OpenAI and Anthropic SDKs: whether to try again, whatever the status says.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why an exchange ended before the provider's answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request names another host than the connection it came by.
    Misdirected { expected: String, named: Option<String> },
    /// The backend was taken away while the client's connection stood, or the pod was let go of before: on a new one its host is relayed.
    BackendRemoved(String),
    /// The request's head is longer than is taken.
    HeadTooLong,
    /// CONNECT asks a proxy for a tunnel, and this is none.
    Tunnel,
    /// The path cannot be joined to the endpoint's prefix.
    BadPath,
    /// A policy denies what is asked for; which, and why.
    OperationDenied(String),
    /// A policy denies the model that is asked.
    ModelDenied(DeniedModel),
    /// There is no credential to send.
    NoCredential { host: String, reason: String },
    /// The client's body is not framed as it should be.
    IncompleteRequest(String),
    /// The client went away in the middle of its body.
    ClientGone(String),
    /// The provider could not be reached or did not answer.
    Upstream { host: String, error: Box<UpstreamError> },
    /// The provider switched protocols without having been asked to.
    UnaskedSwitch,
    /// The provider, or something before it, failed without an error in its own format.
    Failed {
        host: String,
        status: StatusCode,
        /// When to try again, if it said so.
        retry_after: Option<HeaderValue>,
    },
}

impl Refusal {
    pub(super) fn no_credential(host: &str, reason: &str) -> Self {
        Self::NoCredential {
            host: host.to_owned(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn from_upstream(host: &str, error: UpstreamError) -> Self {
        match error {
            UpstreamError::RequestBody { source } => Self::from_request_body(&source),
            error => Self::Upstream {
                host: host.to_owned(),
                error: Box::new(error),
            },
        }
    }

    /// Why the client's body could not be read to its end.
    pub(super) fn from_request_body(error: &hyper::Error) -> Self {
        if is_hang_up(error) {
            Self::ClientGone(error.to_string())
        } else {
            Self::IncompleteRequest(error.to_string())
        }
    }

    /// Whether it was the client who ended the exchange. There is an answer all the same: it may have closed only its own side.
    pub(super) fn is_clients(&self) -> bool {
        matches!(self, Self::ClientGone(_))
    }

    /// Whether the request was fine and upstream failed it.
    pub(super) fn is_upstreams(&self) -> bool {
        matches!(
            self,
            Self::Upstream { .. } | Self::Failed { .. } | Self::UnaskedSwitch
        )
    }

    /// The stable code: part of the contract with users.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Misdirected { .. } => "weir_misdirected_request",
            Self::BackendRemoved(_) => "weir_backend_removed",
            Self::HeadTooLong => "weir_head_too_long",
            Self::Tunnel => "weir_tunnel_refused",
            Self::BadPath => "weir_invalid_path",
            Self::OperationDenied(_) => "weir_operation_denied",
            Self::ModelDenied(_) => "weir_model_denied",
            Self::NoCredential { .. } => "weir_no_credential",
            Self::IncompleteRequest(_) | Self::ClientGone(_) => "weir_incomplete_request",
            Self::Failed { .. } => "weir_upstream_failed",
            Self::UnaskedSwitch => "weir_upstream_invalid",
            Self::Upstream { error, .. } => match **error {
                UpstreamError::Unresolved { .. } | UpstreamError::Unreachable { .. } => {
                    "weir_upstream_unreachable"
                }
                UpstreamError::TimedOut { .. } | UpstreamError::Silent { .. } => "weir_upstream_timeout",
                UpstreamError::Untrusted { .. } | UpstreamError::Authorities { .. } => {
                    "weir_upstream_untrusted"
                }
                UpstreamError::Handshake { .. } => "weir_upstream_tls",
                UpstreamError::Closed { .. } => "weir_upstream_closed",
                UpstreamError::Invalid { .. } => "weir_upstream_invalid",
                UpstreamError::RequestBody { .. } => "weir_incomplete_request",
            },
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Misdirected { .. } | Self::BackendRemoved(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadPath | Self::IncompleteRequest(_) | Self::ClientGone(_) => StatusCode::BAD_REQUEST,
            Self::OperationDenied(_) | Self::ModelDenied(_) => StatusCode::FORBIDDEN,
            Self::NoCredential { .. } => StatusCode::UNAUTHORIZED,
            Self::Failed { status, .. } => *status,
            Self::UnaskedSwitch => StatusCode::BAD_GATEWAY,
            Self::Upstream { error, .. } => match **error {
                UpstreamError::TimedOut { .. } | UpstreamError::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Misdirected {
                expected,
                named: Some(named),
            } => format!(
                "This connection was opened to {expected}, but the request names {named}. Open a connection of its \
                 own to {named}; a Host header cannot lead elsewhere."
            ),
            Self::Misdirected {
                expected,
                named: None,
            } => format!(
                "This connection was opened to {expected}, but the request does not name one host. Send one Host \
                 header that says {expected}."
            ),
            Self::BackendRemoved(host) => format!(
                "No backend answers for {host} any more. Open a new connection: it will not be intercepted."
            ),
            Self::HeadTooLong => format!(
                "The request's path and headers are longer than {} KiB. Send fewer or shorter ones.",
                MOST_HEAD_BYTES / 1024
            ),
            Self::Tunnel => "CONNECT is for proxies; the provider takes requests only.".to_owned(),
            Self::BadPath => {
                "The path, behind the backend's endpoint.pathPrefix, is no valid path.".to_owned()
            }
            Self::OperationDenied(denial) | Self::ModelDenied(DeniedModel { denial, .. }) => format!(
                "Weir did not let this request through: {denial}. Ask whoever wrote the policy, or ask for something else."
            ),
            Self::NoCredential { host, reason } => {
                format!("Weir has no credential for {host}: {reason}. Nothing was sent to {host}.")
            }
            Self::IncompleteRequest(reason) | Self::ClientGone(reason) => {
                format!("The request's body broke off before its end ({reason}).")
            }
            Self::UnaskedSwitch => "The provider switched protocols without having been asked to.".to_owned(),
            Self::Failed { host, status, .. } => format!(
                "{host} answered {} without an error in its own format: something in front of it may be failing. \
                 Try again later.",
                status.as_u16()
            ),
            Self::Upstream { host, error } => format!(
                "Weir could not get an answer from {host}: {error}. {}",
                mend(error)
            ),
        }
    }

    /// A retry by the SDK would fail in the same way.
    fn is_final(&self) -> bool {
        match self {
            Self::Misdirected { .. }
            | Self::HeadTooLong
            | Self::Tunnel
            | Self::BadPath
            | Self::OperationDenied(_)
            | Self::ModelDenied(_)
            | Self::NoCredential { .. } => true,
            // On a connection of its own a retry is relayed.
            Self::BackendRemoved(_)
            | Self::IncompleteRequest(_)
            | Self::ClientGone(_)
            | Self::Failed { .. }
            | Self::UnaskedSwitch => false,
            Self::Upstream { error, .. } => {
                matches!(
                    **error,
                    UpstreamError::Untrusted { .. } | UpstreamError::Authorities { .. }
                )
            }
        }
    }

    pub(super) fn response(&self, dialect: Dialect) -> Response<AnswerBody> {
        let message = self.message();
        let reply = ErrorReply {
            status: self.status(),
            code: self.code(),
            message: &message,
        };
        let mut response = json(reply.status, dialect.error_body(&reply));
        if matches!(self, Self::BackendRemoved(_)) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.is_final() {
            response
                .headers_mut()
                .insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        } else if let Self::Failed {
            retry_after: Some(when),
            ..
        } = self
        {
            response.headers_mut().insert(RETRY_AFTER, when.clone());
        } else if self.is_upstreams() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Whether reading from a client failed because nothing more can come from it.
fn is_hang_up(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            return matches!(
                error.kind(),
                UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
            );
        }
        next = error.source();
    }
    false
}

fn mend(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Unresolved { .. } => "Check the backend's endpoint.host and this machine's DNS.",
        UpstreamError::Unreachable { .. } => {
            "Check that the provider is up and that no firewall or NetworkPolicy is in the way."
        }
        UpstreamError::TimedOut { .. } => "Check that no firewall or NetworkPolicy drops the connection.",
        UpstreamError::Silent { .. } => "An AIPolicy's timeouts.firstByte says how long to wait.",
        UpstreamError::Untrusted { .. } => {
            "No key was sent. If this server is meant, name its CA in the backend's endpoint.tls.caCertificateRefs; \
             if not, somebody else answers at its address."
        }
        UpstreamError::Authorities { .. } => "Mend the ConfigMap that endpoint.tls.caCertificateRefs names.",
        UpstreamError::Handshake { .. } => "Check that the port speaks TLS; no key was sent.",
        UpstreamError::Closed { .. } => "The request may have reached it; try again.",
        UpstreamError::Invalid { .. } => "Check that the port speaks HTTP.",
        UpstreamError::RequestBody { .. } => "",
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::ours(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The whole words that begin with `weir_` and stand between `mark`s.
    fn codes(text: &str, mark: char) -> BTreeSet<&str> {
        let is_code = |word: &str| match word.strip_prefix("weir_") {
            Some(rest) => !rest.is_empty() && !rest.contains(char::is_whitespace),
            None => false,
        };
        text.split(mark).filter(|word| is_code(word)).collect()
    }

    #[test]
    fn every_code_is_documented_and_no_other() {
        let ours = codes(include_str!("refusal.rs"), '"');
        let truncated = BTreeSet::from([super::super::settlement::TRUNCATED]);
        let documented = include_str!("../../../docs/surface.md");
        let (_, table) = documented.split_once("## Error codes").expect("the section");
        assert_eq!(codes(table, '`'), &ours | &truncated);
    }
}
