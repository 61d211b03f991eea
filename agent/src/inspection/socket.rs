//! The socket: a question of JSON, then an answer of JSON, on a connection each. In a folder that only root may enter.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Inspector;
use crate::lifecycle::agent_socket::AgentSocket;

/// The socket's name.
const SOCKET: &str = "inspection.sock";

/// Longer questions are none.
const LONGEST_QUESTION: u64 = 4096;
/// For the question, and for its reader to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take that the controller is asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Questions at once.
const VISITORS: usize = 8;
/// After a failed accept, which would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Where it is, below the folder of the node's agents.
pub fn socket_path(run_root: &Path) -> PathBuf {
    AgentSocket::path(run_root, SOCKET)
}

/// What an agent can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "about")]
pub enum Question {
    /// What becomes of a pod's connections, and why. Answered with an [`Explanation`](super::Explanation).
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// The agent itself. Answered with an [`AgentAnswer`](super::AgentAnswer).
    Agent,
}

/// Answers for as long as it lives. The socket goes with it, unless it is another agent's by then.
#[derive(Debug)]
pub struct InspectionServer {
    _socket: AgentSocket,
    task: AbortHandle,
}

impl InspectionServer {
    /// Opens the socket below `run_root`, in the place of any other. Needs a tokio runtime with I/O and time.
    pub fn start(run_root: &Path, inspector: Inspector) -> io::Result<Self> {
        let (socket, listener) = AgentSocket::listen(run_root, SOCKET)?;
        let task = tokio::spawn(serve(listener, Arc::new(inspector))).abort_handle();
        Ok(Self {
            _socket: socket,
            task,
        })
    }
}

impl Drop for InspectionServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: UnixListener, inspector: Arc<Inspector>) {
    let visitors = Arc::new(Semaphore::new(VISITORS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&visitors).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let inspector = Arc::clone(&inspector);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &inspector).await {
                tracing::debug!("a question was not answered: {error}");
            }
            drop(place);
        });
    }
}

async fn answer(mut stream: UnixStream, inspector: &Inspector) -> io::Result<()> {
    let mut question = Vec::new();
    let (reading, _) = stream.split();
    timeout(
        PATIENCE,
        reading.take(LONGEST_QUESTION).read_to_end(&mut question),
    )
    .await??;
    let answer = match serde_json::from_slice(&question)? {
        Question::Pod { namespace, pod } => serde_json::to_vec(&inspector.pod(&namespace, &pod).await)?,
        Question::Agent => serde_json::to_vec(&inspector.agent())?,
    };
    timeout(PATIENCE, stream.write_all(&answer)).await??;
    stream.shutdown().await
}

/// Why an agent has not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no agent answers at {}: {error}. Ask inside the agent's pod: kubectl exec -n weir-system ds/weir-agent -- weir …; \
         kubectl get pods -n weir-system says whether it runs", path.display()
    )]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The answer broke off, or did not come.
    #[error("the agent has not answered: {0}; its log may say why")]
    NoAnswer(#[from] io::Error),
    /// The answer is none that is known.
    #[error("the agent's answer is not understood: {0}; is the agent of another version?")]
    Unknown(#[from] serde_json::Error),
}

/// Asks the agent whose run folder this is. Blocks.
pub fn ask<A: DeserializeOwned>(run_root: &Path, question: &Question) -> Result<A, AskError> {
    let path = socket_path(run_root);
    let mut stream = BlockingStream::connect(&path).map_err(|error| AskError::NoAgent { path, error })?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&serde_json::to_vec(question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
