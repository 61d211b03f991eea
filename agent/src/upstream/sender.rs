//! One connection to a provider, in either version of HTTP.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};

/// Why a body could not be read on.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body on its way up.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// The version of HTTP that a client speaks, and that is offered upstream first, so that what it sent need not be translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// A request that got no answer.
pub(super) struct SendFailure {
    pub(super) error: hyper::Error,
    /// The request, where no byte of it was written.
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    pub(super) async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendFailure> {
        let outcome = match self {
            Self::Http1(sender) => match sender.ready().await {
                Ok(()) => {
                    as_http1(&mut request);
                    sender.try_send_request(request).await
                }
                Err(error) => {
                    return Err(SendFailure {
                        error,
                        unsent: Some(Box::new(request)),
                    });
                }
            },
            Self::Http2(sender) => match sender.ready().await {
                Ok(()) => {
                    as_http2(&mut request);
                    sender.try_send_request(request).await
                }
                Err(error) => {
                    return Err(SendFailure {
                        error,
                        unsent: Some(Box::new(request)),
                    });
                }
            },
        };
        outcome.map_err(|mut failure| {
            let unsent = failure.take_message().map(Box::new);
            SendFailure {
                error: failure.into_error(),
                unsent,
            }
        })
    }
}

/// Origin form with a Host header (RFC 9112 §3.2.1).
fn as_http1(request: &mut Request<RequestBody>) {
    *request.version_mut() = http::Version::HTTP_11;
    let Some(authority) = request.uri().authority() else {
        return;
    };
    if !request.headers().contains_key(http::header::HOST)
        && let Ok(host) = http::HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(http::header::HOST, host);
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The scheme and authority pseudo-headers come from the URI (RFC 9113 §8.3.1).
fn as_http2(request: &mut Request<RequestBody>) {
    *request.version_mut() = http::Version::HTTP_2;
    if request.uri().authority().is_some() {
        return;
    }
    let host = request.headers_mut().remove(http::header::HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    parts.authority = host.and_then(|host| http::uri::Authority::try_from(host.as_bytes()).ok());
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    if let Ok(uri) = http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
