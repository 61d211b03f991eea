//! HTTP/2 clients, by hyper: its framing is not what is under test.

use std::convert::Infallible;
use std::net::TcpStream;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::tls::Greeting;
use crate::world::{FREE, World};

/// Any request body.
pub type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// A connection that takes requests; it lives on the runtime that this is called on.
///
/// # Panics
/// If the handshake fails, or the server does not take HTTP/2.
pub async fn connect(world: &World, stream: TcpStream, name: &str) -> SendRequest<RequestBody> {
    stream.set_nonblocking(true).expect("it is a socket");
    let stream = tokio::net::TcpStream::from_std(stream).expect("a runtime is running");
    let greeting = Greeting {
        alpn: &["h2"],
        ..Greeting::to(name)
    };
    let server_name = ServerName::try_from(name.to_owned()).expect("the test's own names are valid");
    let stream = TlsConnector::from(greeting.config(world))
        .connect(server_name, stream)
        .await
        .unwrap_or_else(|error| panic!("TLS with {name}: {error}"));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // h2 ends a connection whose unread small frames exceed half of its window: the test's own client must never be who does.
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(64 * 1024 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap_or_else(|error| panic!("HTTP/2 with {name}: {error}"));
    tokio::spawn(connection);
    sender
}

/// A runtime for one test.
///
/// # Panics
/// If none can be had.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had")
}

/// A body that is known whole.
pub fn full(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// A GET without a body.
///
/// # Panics
/// If the URI is none.
pub fn get(uri: &str) -> Request<RequestBody> {
    Request::get(uri)
        .body(full(""))
        .expect("the test's own URIs are valid")
}

/// A POST of JSON.
///
/// # Panics
/// If the URI is none.
pub fn post(uri: &str, body: impl Into<Bytes>) -> Request<RequestBody> {
    Request::post(uri)
        .header("content-type", "application/json")
        .body(full(body))
        .expect("the test's own URIs are valid")
}

/// The answer's body as text.
///
/// # Panics
/// If it breaks off.
pub async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("the answer is whole");
    String::from_utf8_lossy(&body.to_bytes()).into_owned()
}

/// A server of HTTP/2 at `free.example`, on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers each request as `answer` has it.
///
/// # Panics
/// If the port is taken.
pub fn serve<F, R>(world: &World, answer: F) -> Server
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<RequestBody>> + Send + 'static,
{
    let tls = world
        .authority()
        .server(&["free.example"], &["h2"], &[&rustls::version::TLS13]);
    let listener = std::net::TcpListener::bind((FREE, 443)).unwrap_or_else(|error| panic!("{FREE}: {error}"));
    listener.set_nonblocking(true).expect("it is a socket");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let accepting = async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is running");
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tokio_rustls::TlsAcceptor::from(tls.clone()), answer.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    let service = hyper::service::service_fn(move |request| {
                        let answer = answer(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    // How it ends is what the client sees.
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        };
        runtime().block_on(async {
            tokio::select! {
                () = accepting => {}
                _ = stopped => {}
            }
        });
    });
    Server {
        stop: Some(stop),
        thread: Some(thread),
    }
}
