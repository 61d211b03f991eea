//! Configuration from the controller, by gRPC (`weir.v1.Discovery`).
//!
//! One stream for as long as both live. What the agent holds outlives it, so that while the controller is away everything
//! goes on with the last good configuration, and a new stream brings only what differs.

mod backoff;
mod connect;
mod held;
mod leaves;
mod link;
mod stream;
mod workloads;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use weir_api::Snapshot;
use weir_api::proto;

pub use leaves::ControllerLeaves;
pub use link::{ControllerLink, LinkState};
pub use workloads::{ObservedWhy, PodWorkload, Treatment, Workloads};

use self::backoff::Backoff;
use self::held::Held;
use super::SnapshotHandle;

/// Where the controller is, and who we are to it.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The node that this agent runs on.
    pub node: String,
    /// `https://HOST:PORT`.
    pub address: http::Uri,
    /// Certificate authorities of the controller, PEM. Read anew for each connection.
    pub authorities: PathBuf,
    /// The service account token for the controller. Read anew for each connection.
    pub token: PathBuf,
}

impl ControllerSettings {
    /// The namespace that the controller is in, by its name in the cluster; the usual one where it has another kind of name.
    pub fn namespace(&self) -> &str {
        let mut labels = self.address.host().unwrap_or_default().split('.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(_), Some(namespace), Some("svc")) => namespace,
            _ => "weir-system",
        }
    }
}

/// Why there is no stream to the controller. All are worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A file that a connection needs.
    #[error("{}: {error} (kubelet projects it: see the pod's volumes)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The token is no header's value.
    #[error("{}: is not a token: it has bytes that no header may hold", .0.display())]
    Token(PathBuf),
    /// No connection.
    #[error("no connection to {address}: {}", chain(error))]
    Unreachable {
        /// The controller.
        address: http::Uri,
        /// What was seen.
        error: tonic::transport::Error,
    },
    /// The controller refused or ended the stream.
    #[error("the controller ended the stream: {}: {}{}", .0.code(), .0.message(), mend(.0))]
    Status(Box<tonic::Status>),
    /// It did not answer.
    #[error("the controller has not answered within {} s", .0.as_secs())]
    Silent(Duration),
    /// The stream ended without an error.
    #[error("the controller closed the stream")]
    Closed,
}

/// An error with its causes: tonic's own say "transport error" and no more.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn mend(status: &tonic::Status) -> &'static str {
    match status.code() {
        tonic::Code::Unauthenticated => {
            " (is the token's audience `weir-controller`, and has it not expired?)"
        }
        tonic::Code::PermissionDenied => " (is the token that of the agent's pod on this node?)",
        _ => "",
    }
}

/// What the agent tells the controller of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentReport {
    /// Uids of the pods that are captured now.
    pub captured_pods: Vec<String>,
    /// Programs of these pods that reject our leaf.
    pub distrusts: Vec<proto::Distrust>,
}

/// Feeds a snapshot, leaves and workloads from the controller for as long as it lives.
#[derive(Debug)]
pub struct ControllerSource {
    snapshot: SnapshotHandle,
    leaves: ControllerLeaves,
    workloads: watch::Receiver<Option<Arc<Workloads>>>,
    release_all: watch::Receiver<bool>,
    held: HeldConfiguration,
    link: ControllerLink,
    task: AbortHandle,
}

/// What was taken of the controller's configuration, keys included: for the next agent on this node, and for nobody else. Cheap to
/// clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct HeldConfiguration(Arc<Mutex<Held>>);

impl HeldConfiguration {
    /// All of it, as it stands. `None` while none has come, or a change has come by half.
    pub fn all(&self) -> Option<proto::Delta> {
        self.0.lock().all()
    }
}

impl ControllerSource {
    /// Calls the controller, and goes on calling it. `inherited` is what the agent before us held, which is served from until
    /// the controller says what has changed. Needs a tokio runtime with I/O and time.
    pub fn start(
        settings: ControllerSettings,
        reports: watch::Receiver<AgentReport>,
        inherited: Option<proto::Delta>,
    ) -> Self {
        let snapshot = SnapshotHandle::new(Snapshot::default());
        let leaves = ControllerLeaves::default();
        let (sender, workloads) = watch::channel(None);
        let (release, release_all) = watch::channel(false);
        let taking = Taking {
            snapshot: snapshot.clone(),
            leaves: leaves.clone(),
            workloads: sender,
            release_all: release,
            link: ControllerLink::default(),
        };
        let link = taking.link.clone();
        let held = HeldConfiguration::default();
        if let Some(inherited) = inherited.and_then(Held::inherited) {
            // What of it cannot be served the controller has been told.
            let _ = taking.take(&inherited);
            *held.0.lock() = inherited;
        }
        let following = follow(settings, taking, held.clone(), reports);
        let watching = leaves.clone().warn_of_the_end();
        let task = tokio::spawn(async { tokio::join!(following, watching) }).abort_handle();
        Self {
            snapshot,
            leaves,
            workloads,
            release_all,
            held,
            link,
            task,
        }
    }

    /// What is held of the configuration.
    pub fn held(&self) -> HeldConfiguration {
        self.held.clone()
    }

    /// What the controller feeds; empty until the first configuration has come.
    pub fn snapshot(&self) -> SnapshotHandle {
        self.snapshot.clone()
    }

    /// The leaves that belong to it.
    pub fn leaves(&self) -> ControllerLeaves {
        self.leaves.clone()
    }

    /// How it stands with the controller.
    pub fn link(&self) -> ControllerLink {
        self.link.clone()
    }

    /// The pods that are to be captured; `None` until the first configuration has come.
    pub fn workloads(&self) -> watch::Receiver<Option<Arc<Workloads>>> {
        self.workloads.clone()
    }

    /// Whether all pods are to be released, also those that agents before this one captured: Weir is being uninstalled.
    pub fn release_all(&self) -> watch::Receiver<bool> {
        self.release_all.clone()
    }
}

impl Drop for ControllerSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where configurations go.
struct Taking {
    snapshot: SnapshotHandle,
    leaves: ControllerLeaves,
    workloads: watch::Sender<Option<Arc<Workloads>>>,
    release_all: watch::Sender<bool>,
    link: ControllerLink,
}

impl Taking {
    /// Takes what is held whole; gives what of it could not be served.
    fn take(&self, held: &Held) -> Vec<proto::Rejection> {
        let (configuration, rejections) = held.configuration();
        let changes = super::changes::Changes::between(&self.snapshot.load(), &configuration.snapshot);
        tracing::info!(
            "configuration taken: {changes}; pods to capture: {}",
            configuration.workloads.len()
        );
        // The leaves first: a host that has become a backend's must find its own.
        self.leaves.take(configuration.leaves);
        self.snapshot.take(configuration.snapshot);
        let workloads = Some(Arc::new(configuration.workloads));
        self.workloads.send_if_modified(|current| {
            let differs = *current != workloads;
            *current = workloads;
            differs
        });
        // After them: who is told to release all must not find those of before.
        let release_all = configuration.release_all;
        self.release_all
            .send_if_modified(|current| std::mem::replace(current, release_all) != release_all);
        self.link.configured();
        rejections
    }
}

async fn follow(
    settings: ControllerSettings,
    taking: Taking,
    held: HeldConfiguration,
    mut reports: watch::Receiver<AgentReport>,
) {
    let mut backoff = Backoff::default();
    let mut last_told = None;
    loop {
        let mut session = stream::Session {
            settings: &settings,
            held: &held.0,
            taking: &taking,
            reports: &mut reports,
            progressed: false,
        };
        let error = session.run().await;
        if session.progressed {
            backoff.reset();
            last_told = None;
        }
        // The same again is said once: a controller that is away for a night is one line, not thousands.
        let text = error.to_string();
        taking.link.away(&text);
        if last_told.as_ref() != Some(&text) {
            tracing::warn!("{text}; the last good configuration stays");
            last_told = Some(text);
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
