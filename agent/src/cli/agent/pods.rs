//! Pods that are captured: those of the node that the controller names. Either may be known first.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capture::pods::{Found, PodUid, Pods};
use crate::capture::{CaptureError, NodeCapture, PodCapture, PodListener, PodSandbox};
use crate::cli::ROOT_IN_PODS;
use crate::downstream::{Downstream, Terminator, captured};
use crate::exchange::Services;
use crate::inspection::{Served, ServedPod};
use crate::policy::SnapshotHandle;
use crate::policy::controller::{ObservedWhy, PodWorkload, Treatment, Workloads};
use crate::telemetry::{Activity, Telemetry};
use crate::upstream::{Dialler, SocketMaker, Upstream};
use weir_api::proto;

/// More than a node's pods should have; the controller takes no report that is much longer.
const MOST_DISTRUSTS: usize = 1024;

/// What all pods of the node share.
pub(super) struct Shared {
    pub(super) node: String,
    pub(super) capture: NodeCapture,
    pub(super) snapshot: SnapshotHandle,
    pub(super) telemetry: Telemetry,
    pub(super) upstream: Arc<Upstream>,
    pub(super) terminator: Arc<Terminator>,
    pub(super) sockets: SocketMaker,
    /// The connections of all pods, also of those released since.
    pub(super) connections: TaskTracker,
    /// Set off when another agent has taken over: it accepts from here on.
    pub(super) handed_over: CancellationToken,
    /// Set off when open connections had better end.
    pub(super) draining: CancellationToken,
    /// Told when a pod's program begins to reject our leaf, or ends to.
    pub(super) rejected: watch::Sender<()>,
}

/// The pods that are captured now.
pub(super) struct CapturedPods {
    shared: Arc<Shared>,
    captured: BTreeMap<PodUid, Captured>,
    /// Of pods that an agent before us captured, and we have not yet.
    inherited: BTreeMap<PodUid, PodListener>,
    /// Why those that are not captured as they should be are not.
    problems: BTreeMap<PodUid, String>,
}

struct Captured {
    sandbox: PodSandbox,
    workload: PodWorkload,
    since: SystemTime,
    activity: Arc<Activity>,
    capture: Arc<PodCapture>,
    /// What serves the next connection. Those that are open keep theirs.
    downstream: Arc<ArcSwap<Downstream>>,
    /// Set off when connections that are opened had better end: the pod's are to be opened no more.
    leaving: CancellationToken,
    released: CancellationToken,
}

impl CapturedPods {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            captured: BTreeMap::new(),
            inherited: BTreeMap::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Has those of these pods that are enrolled next go on with the listener that they have.
    pub(super) fn inherit(&mut self, listeners: Vec<PodListener>) {
        self.inherited = listeners
            .into_iter()
            .map(|listener| (listener.uid.clone(), listener))
            .collect();
    }

    /// The listeners of the captured pods, for the next agent.
    pub(super) fn listeners(&self) -> io::Result<Vec<PodListener>> {
        self.captured
            .values()
            .map(|captured| captured.capture.again(&captured.sandbox))
            .collect()
    }

    /// Has nothing redirected any more to where agents before us listened: what they captured and we don't follows its failure policy.
    pub(super) fn forget_other_listeners(&mut self) -> Result<(), CaptureError> {
        self.inherited.clear();
        let captured: Vec<&PodCapture> = self
            .captured
            .values()
            .map(|captured| &*captured.capture)
            .collect();
        self.shared.capture.forget_others(&captured)
    }

    /// Whether agents before us captured pods that we don't.
    pub(super) fn has_others(&self) -> Result<bool, CaptureError> {
        self.shared
            .capture
            .has_others(|uid| self.captured.contains_key(uid))
    }

    /// Lets go of all that agents before us captured, and that is not `wanted`.
    pub(super) fn keep_only(&self, wanted: &Workloads) -> Result<(), CaptureError> {
        self.shared.capture.keep_only(|uid| wanted.contains_key(uid))
    }

    /// The uids of those that are captured.
    pub(super) fn uids(&self) -> Vec<String> {
        self.captured.keys().map(PodUid::to_string).collect()
    }

    /// For who asks about them.
    pub(super) fn served(&self) -> Served {
        let served = |captured: &Captured| ServedPod {
            workload: captured.workload.clone(),
            since: captured.since,
            activity: Arc::clone(&captured.activity),
        };
        let pods = self.captured.iter();
        Served {
            pods: pods
                .map(|(uid, captured)| (uid.clone(), served(captured)))
                .collect(),
            problems: self.problems.clone(),
        }
    }

    /// The programs in them that reject our leaf.
    pub(super) fn distrusts(&self) -> Vec<proto::Distrust> {
        let of_pod = |(uid, captured): (&PodUid, &Captured)| {
            let uid = uid.to_string();
            let rejections = captured.activity.rejections().into_iter();
            rejections.map(move |rejection| proto::Distrust {
                pod_uid: uid.clone(),
                host: rejection.host,
                command: rejection.command,
            })
        };
        self.captured
            .iter()
            .flat_map(of_pod)
            .take(MOST_DISTRUSTS)
            .collect()
    }

    /// Makes what is captured what is to be. True if all of it is; a pod that could not be enrolled is tried again at
    /// the next call. Needs a tokio runtime with I/O, and blocks for some milliseconds a new pod.
    pub(super) fn reconcile(&mut self, found: &Pods, wanted: &Workloads) -> bool {
        let gone: Vec<PodUid> = self
            .captured
            .iter()
            .filter(|(uid, captured)| !captured.stays(found.get(*uid), wanted.get(*uid)))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.release(&uid);
        }
        self.problems.clear();
        for (uid, workload) in wanted {
            let Some(Found::Sandbox(sandbox)) = found.get(uid) else {
                continue;
            };
            let outcome = match self.captured.get_mut(uid) {
                Some(captured) => captured.change(&self.shared, workload),
                None => self.enrol(sandbox, workload),
            };
            if let Err(error) = outcome {
                tracing::warn!("{} is not captured as it should be: {error}", Named(workload));
                self.problems.insert(uid.clone(), error.to_string());
            }
        }
        self.problems.is_empty()
    }

    fn enrol(&mut self, sandbox: &PodSandbox, workload: &PodWorkload) -> Result<(), CaptureError> {
        let shared = &self.shared;
        let capture = match self.inherited.remove(&sandbox.uid) {
            Some(listener) if listener.is_of(sandbox) => {
                shared.capture.take_over(sandbox, workload.on_failure, listener)?
            }
            _ => shared.capture.enrol(sandbox, workload.on_failure)?,
        };
        let capture = Arc::new(capture);
        let activity = Arc::new(Activity::new(shared.rejected.clone()));
        let leaving = shared.draining.child_token();
        let downstream = downstream(shared, sandbox, workload, &activity, &leaving);
        let downstream = Arc::new(ArcSwap::from_pointee(downstream));
        let released = CancellationToken::new();
        tokio::spawn(accept(
            Arc::clone(&capture),
            Arc::clone(&downstream),
            Arc::clone(shared),
            released.clone(),
        ));
        tracing::info!("{} is captured: {}", Named(workload), treatment(workload));
        let captured = Captured {
            sandbox: sandbox.clone(),
            workload: workload.clone(),
            since: SystemTime::now(),
            activity,
            capture,
            downstream,
            leaving,
            released,
        };
        self.captured.insert(sandbox.uid.clone(), captured);
        Ok(())
    }

    fn release(&mut self, uid: &PodUid) {
        let Some(captured) = self.captured.remove(uid) else {
            return;
        };
        let name = Named(&captured.workload);
        match self.shared.capture.release(&captured.capture) {
            Ok(()) => tracing::info!("{name} is no longer captured"),
            Err(error) => tracing::warn!("{name} could not be released whole: {error}"),
        }
        captured.released.cancel();
        captured.leaving.cancel();
    }
}

impl Captured {
    /// Whether it goes on being captured: it is still wanted, and still the same pod.
    fn stays(&self, found: Option<&Found>, wanted: Option<&PodWorkload>) -> bool {
        wanted.is_some()
            && match found {
                None | Some(Found::HostNetwork) => false,
                // Between two sandboxes, or a look that came too early: the next one will tell.
                Some(Found::Empty) => true,
                Some(Found::Sandbox(sandbox)) => self.sandbox.is(sandbox),
            }
    }

    /// Takes over what has changed of the workload, with no connection lost.
    fn change(&mut self, shared: &Shared, workload: &PodWorkload) -> Result<(), CaptureError> {
        if self.workload == *workload {
            return Ok(());
        }
        if self.workload.on_failure != workload.on_failure {
            shared.capture.attach(&self.sandbox, workload.on_failure)?;
        }
        let is_let_go =
            self.workload.treatment == Treatment::Intercepted && workload.treatment != Treatment::Intercepted;
        let leaving = is_let_go.then(|| std::mem::replace(&mut self.leaving, shared.draining.child_token()));
        let next = downstream(shared, &self.sandbox, workload, &self.activity, &self.leaving);
        self.downstream.store(Arc::new(next));
        if let Some(leaving) = leaving {
            leaving.cancel();
        }
        self.workload = workload.clone();
        tracing::info!("{} from now on: {}", Named(workload), treatment(workload));
        Ok(())
    }
}

/// A pod as messages name it.
struct Named<'a>(&'a PodWorkload);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workload = &self.0.workload;
        let pod = workload.pod.as_deref().unwrap_or_default();
        write!(formatter, "{}/{pod}", workload.namespace)
    }
}

fn treatment(workload: &PodWorkload) -> &'static str {
    match workload.treatment {
        Treatment::Intercepted => captured::INTERCEPTED,
        Treatment::Observed(ObservedWhy::Label) => "observed",
        Treatment::Observed(ObservedWhy::Untrusting) => {
            "observed until it restarts, for it was not given our root to trust"
        }
        Treatment::Observed(ObservedWhy::Policy) => "observed, for a policy of its is missing",
    }
}

fn downstream(
    shared: &Shared,
    sandbox: &PodSandbox,
    workload: &PodWorkload,
    activity: &Arc<Activity>,
    leaving: &CancellationToken,
) -> Downstream {
    let introduction = captured::introduction(Named(workload), &shared.node, treatment(workload));
    let services = Services {
        workload: Arc::clone(&workload.workload),
        snapshot: shared.snapshot.clone(),
        telemetry: shared.telemetry.of(Arc::clone(activity)),
        upstream: Arc::clone(&shared.upstream),
        dialler: Dialler::inside(shared.sockets.clone(), Arc::clone(&sandbox.network_namespace)),
    };
    let terminator = Arc::clone(&shared.terminator);
    let downstream = Downstream::new(Arc::new(services), terminator, Path::new(ROOT_IN_PODS))
        .introduced_as(introduction)
        .draining_by(leaving.clone());
    match workload.treatment {
        Treatment::Intercepted => downstream,
        Treatment::Observed(_) => downstream.observing(),
    }
}

/// Serves a pod's connections until it is released, and what was redirected before that as well; or until another agent does.
async fn accept(
    capture: Arc<PodCapture>,
    downstream: Arc<ArcSwap<Downstream>>,
    shared: Arc<Shared>,
    released: CancellationToken,
) {
    let serve = |connection| {
        let downstream = downstream.load_full();
        shared
            .connections
            .spawn(async move { downstream.serve(connection).await });
    };
    loop {
        tokio::select! {
            connection = capture.accept() => serve(connection),
            () = released.cancelled() => break,
            () = shared.handed_over.cancelled() => return,
        }
    }
    while let Some(connection) = capture.accept().now_or_never() {
        serve(connection);
    }
}
