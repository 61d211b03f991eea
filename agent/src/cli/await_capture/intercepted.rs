//! `weir await-capture --intercepted`: whether all of Weir works for this pod, link by link, up to the providers. What `helm test` runs.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::RootCertStore;

use super::call::{self, CallError};
use super::{PAUSE, ask, introduction, somebody_else};
use crate::downstream::captured::{self, ServedHost};
use crate::trust::{RootsError, roots_from_pem};

/// Which link is missing, and what mends it.
#[derive(thiserror::Error, Debug)]
pub(super) enum NotIntercepted {
    #[error(
        "this pod was not given Weir's root to trust ({path}: {source}): the webhook did not change the pod when it was made. Is the \
         controller ready, and may the API server reach its pods at port 15017? `kubectl get pods -A -o wide -l \
         app.kubernetes.io/component=controller` and the API server's log say so. And is the namespace, or the pod, labelled \
         weir.dev/intercept=enabled?"
    )]
    NoRoot { path: String, source: RootError },
    #[error(
        "{introduction}; it had to be intercepted. That takes the label weir.dev/intercept=enabled, on the namespace or the pod, and a pod \
         that the webhook has changed when it was made; `weir explain pod`, in the agent of this node, says what is missing"
    )]
    NotOpened { introduction: String },
    #[error(
        "not captured after {seconds} s ({why}): is the weir-agent pod of this node ready, and does it hear the controller? `kubectl get \
         pods -A -o wide -l app.kubernetes.io/component=agent` shows it, and its log says why"
    )]
    NotCaptured { seconds: u64, why: io::Error },
    #[error("the agent of this node did not say which hosts it answers for ({0}): its log says why")]
    NotTold(io::Error),
    #[error("{count} of {of} hosts of backends did not answer as they should: see above")]
    NotAnswered { count: usize, of: usize },
    #[error("can't begin: {0}")]
    Runtime(io::Error),
}

/// What is wrong with a file of roots.
#[derive(thiserror::Error, Debug)]
pub(super) enum RootError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Content(#[from] RootsError),
}

/// Says each link that holds. `address`: where the agent introduces itself; `root`: the file of Weir's root; `limit`: for the pod to be captured.
pub(super) fn prove_chain(address: SocketAddr, root: &Path, limit: Duration) -> Result<(), NotIntercepted> {
    // It is mounted before any container of the pod starts: one that is not there now will not come.
    let root = read(root).map_err(|source| NotIntercepted::NoRoot {
        path: root.display().to_string(),
        source,
    })?;
    tracing::info!("{}", until_intercepted(address, limit)?);
    let served = served(address).map_err(NotIntercepted::NotTold)?;
    if served.is_empty() {
        tracing::info!(
            "no AIBackend answers to this pod's namespace, so that no TLS was opened: one with allowedNamespaces: {{from: All}} is tried here as well"
        );
    }
    answered(&served, &root)
}

fn read(path: &Path) -> Result<Arc<RootCertStore>, RootError> {
    Ok(roots_from_pem(&fs::read(path)?)?.0)
}

/// What the agent says of the pod, once that is that it is intercepted.
fn until_intercepted(address: SocketAddr, limit: Duration) -> Result<String, NotIntercepted> {
    let begun = Instant::now();
    loop {
        let answer = introduction(address);
        if let Ok(introduction) = &answer
            && captured::is_intercepted(introduction)
        {
            return Ok(introduction.clone());
        }
        if begun.elapsed() >= limit {
            return Err(match answer {
                Ok(introduction) => NotIntercepted::NotOpened { introduction },
                Err(why) => NotIntercepted::NotCaptured {
                    seconds: limit.as_secs(),
                    why,
                },
            });
        }
        std::thread::sleep(PAUSE);
    }
}

fn served(address: SocketAddr) -> io::Result<Vec<ServedHost>> {
    let answer = ask(address, captured::SERVED)?;
    if captured::is_introduction(&answer) {
        return Err(io::Error::other(
            "it is older than this image, and tells nothing of hosts",
        ));
    }
    serde_json::from_str(&answer).map_err(|_| somebody_else())
}

/// Calls each host, and says what came of it.
fn answered(served: &[ServedHost], root: &Arc<RootCertStore>) -> Result<(), NotIntercepted> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NotIntercepted::Runtime)?;
    let calls = served.iter().map(|host| call::call(host, Arc::clone(root)));
    // At once: the pod that this runs in has not for ever.
    let called: Vec<Result<String, CallError>> = runtime.block_on(join_all(calls));
    let mut failed = 0;
    for outcome in called {
        match outcome {
            Ok(said) => tracing::info!("{said}"),
            Err(error) => {
                failed += 1;
                tracing::error!("{error}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(NotIntercepted::NotAnswered {
            count,
            of: served.len(),
        }),
    }
}
