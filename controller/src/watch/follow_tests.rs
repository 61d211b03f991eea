use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::*;

/// An answer of the scripted API server.
enum Answer {
    Object(Json),
    Status(u16),
    /// A watch, with what comes by it. It stays open for as long as the sender does.
    Watch(mpsc::UnboundedReceiver<Json>),
    /// None.
    Silence,
}

/// An API server that answers requests in their order, and whom nobody asks any more when it has no answer left.
#[derive(Clone)]
struct Scripted(Arc<Mutex<VecDeque<(&'static str, Answer)>>>);

// tower's, by the name that tonic hands it on.
impl tonic::codegen::Service<Request<Body>> for Scripted {
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = match request.uri().query().unwrap_or_default().contains("watch=true") {
            true => "watch",
            false => "get",
        };
        let next = self.0.lock().pop_front();
        Box::pin(async move {
            let Some((wanted, answer)) = next else {
                return std::future::pending().await;
            };
            assert_eq!(asked, wanted, "in this order");
            let whole = |status: u16, json: Json| {
                let mut response = Response::new(Full::from(json.to_string()).boxed_unsync());
                *response.status_mut() = status.try_into().expect("a status");
                response
            };
            Ok(match answer {
                Answer::Object(object) => whole(200, object),
                Answer::Status(code) => whole(
                    code,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
                        "reason": if code == 404 { "NotFound" } else { "Forbidden" }, "code": code}),
                ),
                Answer::Watch(mut events) => {
                    let lines = stream::poll_fn(move |context| events.poll_recv(context))
                        .map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
                    Response::new(StreamBody::new(lines).boxed_unsync())
                }
                Answer::Silence => std::future::pending().await,
            })
        })
    }
}

fn map(version: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop", "resourceVersion": version}})
}

fn event(of: &str, version: &str) -> Json {
    json!({"type": of, "object": map(version)})
}

/// A watch that brings `events`; it lives as long as the sender.
fn watch(events: Vec<Json>) -> (mpsc::UnboundedSender<Json>, (&'static str, Answer)) {
    let (sender, receiver) = mpsc::unbounded_channel();
    for event in events {
        sender.send(event).expect("the receiver is there");
    }
    (sender, ("watch", Answer::Watch(receiver)))
}

/// What is told while the API server answers so, as versions.
async fn told(answers: Vec<(&'static str, Answer)>) -> Vec<Seen<String>> {
    let server = Scripted(Arc::new(Mutex::new(answers.into())));
    let maps = Api::<ConfigMap>::namespaced(Client::new(server.clone(), "shop"), "shop");
    let told = RefCell::new(Vec::new());
    let following = follow(maps, "ca", |seen| {
        told.borrow_mut()
            .push(seen.map(|map| map.resource_version().unwrap_or_default()));
    });
    let long_enough = Duration::from_secs(600);
    let _ = timeout(long_enough, following).await;
    assert!(server.0.lock().is_empty(), "all was asked");
    told.into_inner()
}

fn there(version: &str) -> Seen<String> {
    Seen::There(version.to_owned())
}

/// What its storage can't decrypt is nothing to wait for, and one day it may be mended.
#[tokio::test(start_paused = true)]
async fn what_is_answered_by_an_error_for_long_is_told_once_and_read_again() {
    let fails = || (0..100).map(|_| ("watch", Answer::Status(500)));
    let never = told(fails().take(3).collect()).await;
    assert_eq!(never, [], "it may pass");
    let (_open, mended) = watch(vec![]);
    let mended = [mended, ("get", Answer::Object(map("7")))];
    let answers = fails().take(10).chain(mended).collect();
    assert_eq!(
        told(answers).await,
        [Seen::Unreadable("no".to_owned()), there("7")]
    );
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_the_watch_and_the_question_is_not_missed() {
    let get = || ("get", Answer::Object(map("7")));
    let (_open, deleted) = watch(vec![event("ADDED", "7"), event("DELETED", "8")]);
    assert_eq!(told(vec![deleted, get()]).await, [there("7"), Seen::Absent]);
    let (_open, changed) = watch(vec![
        event("ADDED", "6"),
        event("MODIFIED", "7"),
        event("MODIFIED", "9"),
    ]);
    assert_eq!(
        told(vec![changed, get()]).await,
        [there("7"), there("9")],
        "what was before is not told after"
    );
    let (_open, replaced) = watch(vec![
        event("ADDED", "5"),
        event("DELETED", "6"),
        event("ADDED", "7"),
    ]);
    assert_eq!(told(vec![replaced, get()]).await, [there("7")]);
    let (_open, made) = watch(vec![event("ADDED", "8")]);
    assert_eq!(
        told(vec![made, ("get", Answer::Status(404))]).await,
        [Seen::Absent, there("8")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_gone_silent_is_begun_anew() {
    let (_open, silent) = watch(vec![event("ADDED", "7")]);
    let (_too, next) = watch(vec![event("ADDED", "9")]);
    let answers = vec![
        silent,
        ("get", Answer::Object(map("7"))),
        next,
        ("get", Answer::Object(map("9"))),
    ];
    assert_eq!(told(answers).await, [there("7"), there("9")]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_not_answered_is_asked_again() {
    let (_open, first) = watch(vec![]);
    let (_too, second) = watch(vec![]);
    let answers = vec![
        ("watch", Answer::Silence),
        first,
        ("get", Answer::Silence),
        second,
        ("get", Answer::Object(map("7"))),
    ];
    assert_eq!(told(answers).await, [there("7")]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_told_as_such_unless_it_could_be_before() {
    let forbidden = || ("watch", Answer::Status(403));
    assert_eq!(told(vec![forbidden(), forbidden()]).await, [Seen::Forbidden]);
    let (open, first) = watch(vec![]);
    drop(open);
    let answers = vec![first, ("get", Answer::Object(map("7"))), forbidden()];
    assert_eq!(told(answers).await, [there("7")], "who holds it keeps it");
}
