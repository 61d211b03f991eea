//! The provider of the benchmarks: as little work as an answer can be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use weir_tests::certificates::Authority;

use crate::{HOST, Outcome};

/// The request's header that asks for a stream: the number of events, and either the microseconds between two or `hold`.
pub(crate) const STREAM: &str = "x-bench-stream";

/// The name in its certificate.
pub(crate) const NAME: &str = "upstream.example";

const ANSWER: &[u8] = br#"{"id":"chatcmpl-BxkT1Yf0WbQmJ3rUuVn7ZsKp","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"A weir is a low barrier across a river. It raises the water upstream, and measures how much flows over it.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":17,"completion_tokens":26,"total_tokens":43,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_560af6e559"}"#;
const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-BxkT1Yf0WbQmJ3rUuVn7ZsKp\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_560af6e559\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" river\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
const END: &[u8] = b"data: {\"id\":\"chatcmpl-BxkT1Yf0WbQmJ3rUuVn7ZsKp\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":{\"prompt_tokens\":17,\"completion_tokens\":26,\"total_tokens\":43}}\n\ndata: [DONE]\n\n";

/// Serves until it is killed.
pub(crate) async fn serve(tls: SocketAddr, raw: SocketAddr, authority: &Path) -> Outcome {
    let root = Authority::new("Weir bench: upstream");
    std::fs::write(authority, root.pem())?;
    let acceptor = TlsAcceptor::from(root.server(&[NAME, HOST], &["http/1.1"], &[&TLS13]));
    let (listener, raw) = (TcpListener::bind(tls).await?, TcpListener::bind(raw).await?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = raw.accept().await {
            tokio::spawn(serve_bytes(stream));
        }
    });
    crate::ready()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            // The client ends it.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let (media_type, answer) = match Events::asked_for(&head.headers) {
        Some(events) => ("text/event-stream; charset=utf-8", Answer::Events(events)),
        None => (
            "application/json",
            Answer::Whole(Some(Bytes::from_static(ANSWER))),
        ),
    };
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header("x-request-id", "req_4f0c1d2e3b5a49788a6b7c8d9e0f1a2b")
        .header("openai-processing-ms", "312")
        .header("openai-version", "2020-10-01")
        .header("x-ratelimit-limit-requests", "10000")
        .header("x-ratelimit-remaining-requests", "9999")
        .header(
            "strict-transport-security",
            "max-age=31536000; includeSubDomains; preload",
        )
        .header("server", "cloudflare")
        .body(answer)
        .expect("the headers above are valid"))
}

enum Answer {
    Whole(Option<Bytes>),
    Events(Events),
}

struct Events {
    left: usize,
    pace: Option<Interval>,
    /// Nothing comes after the last event, not even the end.
    hold: bool,
    ended: bool,
}

impl Events {
    fn asked_for(headers: &HeaderMap) -> Option<Self> {
        let (events, pace) = headers.get(STREAM)?.to_str().ok()?.split_once(' ')?;
        let micros = pace.parse().unwrap_or(0);
        let interval = (micros > 0).then(|| {
            let mut interval = interval(Duration::from_micros(micros));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Some(Self {
            left: events.parse().ok()?,
            pace: interval,
            hold: pace == "hold",
            ended: false,
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.left == 0 {
            return match (self.hold, std::mem::replace(&mut self.ended, true)) {
                (true, _) => Poll::Pending,
                (false, false) => Poll::Ready(Some(Bytes::from_static(END))),
                (false, true) => Poll::Ready(None),
            };
        }
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll_tick(context));
        }
        self.left -= 1;
        Poll::Ready(Some(Bytes::from_static(EVENT)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(events) => ready!(events.poll(context)),
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// The relay's other end: a number of bytes, as eight in big-endian order, is answered by as many; what comes after is swallowed.
async fn serve_bytes(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut left = stream.read_u64().await?;
    while left > 0 {
        let piece = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&buffer[..piece]).await?;
        left -= piece as u64;
    }
    while stream.read(&mut buffer).await? > 0 {}
    stream.shutdown().await
}
