//! Where successors come to: a socket in a folder that only root may enter. Whose socket it is has the node's pods.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use weir_api::proto;

use super::successor::{Greeted, greet};
use super::wire::Wire;
use super::{Candidate, HandoverError, Identity};
use crate::lifecycle::agent_socket::AgentSocket;

/// The socket's name.
const SOCKET: &str = "handover.sock";
/// After a failed accept, which would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The sign that we have the node's pods. It goes with the value, unless it is another's by then.
#[derive(Debug)]
pub struct Door {
    socket: AgentSocket,
    task: AbortHandle,
}

impl Door {
    /// Where it is, below the folder of the node's agents.
    pub fn path(run_root: &Path) -> PathBuf {
        AgentSocket::path(run_root, SOCKET)
    }

    /// Opens it, in the place of any other, and greets whoever comes with what `configuration` says then. Needs a tokio runtime
    /// with I/O.
    pub fn open(
        run_root: &Path,
        us: Identity,
        configuration: impl Fn() -> Option<proto::Delta> + Send + Sync + 'static,
    ) -> io::Result<(Self, Visitors)> {
        let (socket, listener) = AgentSocket::listen(run_root, SOCKET)?;
        let (sender, candidates) = mpsc::channel(1);
        let task = tokio::spawn(attend(listener, us, configuration, sender)).abort_handle();
        Ok((Self { socket, task }, Visitors(candidates)))
    }

    /// Whether the pods are still ours: an agent that found us hanging has not asked for them.
    pub fn is_ours(&self) -> bool {
        self.socket.is_ours()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Those who come to the door.
#[derive(Debug)]
pub struct Visitors(mpsc::Receiver<Candidate>);

impl Visitors {
    /// The next one that is ready to be given the pods.
    pub async fn ready(&mut self) -> Candidate {
        match self.0.recv().await {
            Some(candidate) => candidate,
            None => std::future::pending().await,
        }
    }
}

async fn attend(
    listener: UnixListener,
    us: Identity,
    configuration: impl Fn() -> Option<proto::Delta> + Send + Sync + 'static,
    candidates: mpsc::Sender<Candidate>,
) {
    let mut visits = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                match Wire::new(stream) {
                    Ok(wire) => {
                        visits.spawn(visit(wire, us.clone(), configuration(), candidates.clone()));
                    }
                    Err(error) => tracing::warn!("a visitor for the handover is refused: {error}"),
                }
            }
            Some(_) = visits.join_next() => {}
        }
    }
}

async fn visit(
    wire: Wire,
    us: Identity,
    configuration: Option<proto::Delta>,
    candidates: mpsc::Sender<Candidate>,
) {
    let outcome = async {
        match greet(wire, &us, configuration).await? {
            // It waits for our end.
            Greeted::Refused(mut wire) => wire.closed().await,
            Greeted::Welcome(mut candidate) => {
                tracing::info!(
                    "agent {} has come to take the pods over, and makes ready",
                    candidate.version()
                );
                candidate.ready().await?;
                // Nobody takes it: we have handed over to another, or end.
                let _ = candidates.send(candidate).await;
            }
        }
        Ok::<(), HandoverError>(())
    };
    if let Err(error) = outcome.await {
        tracing::warn!("an agent that came to take the pods over did not: {error}");
    }
}
