//! Requests as an SDK makes them, on connections that are kept.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls;
use crate::upstream::STREAM;
use crate::{HOST, Outcome};

const SMALL: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You answer in one sentence."},{"role":"user","content":"What does a weir do?"}],"temperature":0.2}"#;
const STREAMED: &str =
    r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What does a weir do?"}],"stream":true}"#;

/// The text of a long prompt, in bytes.
const PROMPT_BYTES: usize = 1024 * 1024;

/// New connections under way at a time.
const OPENING: usize = 8;

/// What a request asks for.
#[derive(Clone)]
pub(super) struct Question {
    body: Bytes,
    stream: Option<HeaderValue>,
}

impl Question {
    /// A short answer to a short question.
    pub(super) fn small() -> Self {
        Self {
            body: Bytes::from_static(SMALL.as_bytes()),
            stream: None,
        }
    }

    /// A short answer to a question of 1 MiB, with the escapes that prose has.
    pub(super) fn prompt() -> Self {
        let line = r#"The river rises in the hills to the west, and \"falls\" some ninety metres on its way to the sea.\n"#;
        let text = line.repeat(PROMPT_BYTES / line.len());
        Self {
            body: SMALL.replace("What does a weir do?", &text).into(),
            stream: None,
        }
    }

    /// So many events, and microseconds between two or `hold`.
    pub(super) fn stream(events: usize, pace: &str) -> Outcome<Self> {
        let stream = Some(HeaderValue::try_from(format!("{events} {pace}"))?);
        Ok(Self {
            body: Bytes::from_static(STREAMED.as_bytes()),
            stream,
        })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::post("/v1/chat/completions")
            .header(header::HOST, HOST)
            .header(header::ACCEPT_ENCODING, "gzip, deflate")
            .header(header::CONNECTION, "keep-alive")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "OpenAI/Python 1.109.1")
            .header("x-stainless-lang", "python")
            .header("x-stainless-package-version", "1.109.1")
            .header("x-stainless-os", "Linux")
            .header("x-stainless-arch", "x64")
            .header("x-stainless-runtime", "CPython")
            .header("x-stainless-runtime-version", "3.13.5")
            .header(header::AUTHORIZATION, "Bearer the-programs-own-placeholder")
            .header("x-stainless-async", "false")
            .header("x-stainless-retry-count", "0");
        if let Some(stream) = &self.stream {
            request = request.header(STREAM, stream);
        }
        request
            .body(Full::new(self.body.clone()))
            .expect("the headers above are valid")
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// A client with its connections.
pub(super) struct Client {
    target: SocketAddr,
    tls: Arc<ClientConfig>,
    connections: Vec<Sender>,
    held: Vec<Response<Incoming>>,
}

impl Client {
    pub(super) fn new(target: SocketAddr, trust: &Path) -> Outcome<Self> {
        let mut tls = ClientConfig::clone(&*tls::trusting(trust)?);
        // Each handshake a whole one, as of programs that have just been started.
        tls.resumption = Resumption::disabled();
        Ok(Self {
            target,
            tls: Arc::new(tls),
            connections: Vec::new(),
            held: Vec::new(),
        })
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Opens connections until there are so many, each with one exchange behind it.
    pub(super) async fn open(&mut self, count: usize) -> Outcome {
        while self.connections.len() < count {
            let mut opening = JoinSet::new();
            for _ in 0..OPENING.min(count - self.connections.len()) {
                let (tls, target) = (Arc::clone(&self.tls), self.target);
                opening.spawn(async move {
                    let stream = handshake(tls, target).await?;
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                    tokio::spawn(connection);
                    exchange(&mut sender, &Question::small()).await?;
                    Outcome::Ok(sender)
                });
            }
            for opened in opening.join_all().await {
                self.connections.push(opened?);
            }
        }
        Ok(())
    }

    /// Closes all connections.
    pub(super) fn close(&mut self) {
        self.held.clear();
        self.connections.clear();
    }

    /// So many exchanges, shared out among all connections.
    pub(super) async fn exchanges(&mut self, count: usize, question: Question) -> Outcome {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut working = JoinSet::new();
        for mut sender in self.connections.drain(..) {
            let (begun, question) = (Arc::clone(&begun), question.clone());
            working.spawn(async move {
                while begun.fetch_add(1, Ordering::Relaxed) < count {
                    exchange(&mut sender, &question).await?;
                }
                Outcome::Ok(sender)
            });
        }
        for worked in working.join_all().await {
            self.connections.push(worked?);
        }
        Ok(())
    }

    /// Begins a stream on each connection that has none, reads its first chunk, and leaves it open.
    pub(super) async fn hold(&mut self) -> Outcome {
        let question = Question::stream(1, "hold")?;
        for sender in self.connections.iter_mut().skip(self.held.len()) {
            let mut response = begin(sender, &question).await?;
            response.body_mut().frame().await.ok_or("the stream ended")??;
            self.held.push(response);
        }
        Ok(())
    }

    /// The median time from a request to the first bytes of a stream, one after the other.
    pub(super) async fn time_to_first_chunk(&mut self, count: usize) -> Outcome<u64> {
        let question = Question::stream(1, "0")?;
        let sender = self.connections.first_mut().ok_or("no connection is open")?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let mut response = begin(sender, &question).await?;
            response.body_mut().frame().await.ok_or("the stream ended")??;
            times.push(began.elapsed());
            drain(response).await?;
        }
        times.sort_unstable();
        Ok(u64::try_from(times[count / 2].as_nanos())?)
    }

    /// Whole handshakes, each on a new connection that is closed after it.
    pub(super) async fn handshakes(&self, count: usize) -> Outcome {
        for _ in 0..count {
            handshake(Arc::clone(&self.tls), self.target).await?;
        }
        Ok(())
    }
}

async fn handshake(tls: Arc<ClientConfig>, target: SocketAddr) -> Outcome<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(tls)
        .connect(ServerName::try_from(HOST)?, stream)
        .await?)
}

async fn begin(sender: &mut Sender, question: &Question) -> Outcome<Response<Incoming>> {
    sender.ready().await?;
    let response = sender.send_request(question.request()).await?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => {
            let body = response.into_body().collect().await?.to_bytes();
            Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into())
        }
    }
}

async fn exchange(sender: &mut Sender, question: &Question) -> Outcome {
    drain(begin(sender, question).await?).await
}

async fn drain(mut response: Response<Incoming>) -> Outcome {
    while let Some(frame) = response.body_mut().frame().await {
        frame?;
    }
    Ok(())
}
