//! The time in which this agent has the node's pods: from the agent before it, or from what is pinned, to the agent after it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::dials;
use super::Failure;
use super::pods::{CapturedPods, Shared};
use crate::capture::pods::PodWatch;
use crate::capture::{CaptureSettings, NodeCapture};
use crate::downstream::Terminator;
use crate::inspection::{InspectionServer, Inspector, Places, Served};
use crate::lifecycle::handover::{
    Candidate, Door, HandoverError, Identity, Inheritance, Predecessor, Standby, Successor, Visitors,
};
use crate::lifecycle::{Readiness, ReadinessToken};
use crate::policy::controller::{AgentReport, ControllerSettings, ControllerSource, Workloads};
use crate::telemetry::Telemetry;
use crate::trust::Leaves;
use crate::upstream::{PublicRoots, SocketMaker, Upstream, UpstreamTls};
use weir_api::REPLICAS_AGREE_WITHIN;

/// How soon pods that could not be enrolled are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What is the same in all of an agent's tenures.
pub(super) struct Node {
    pub(super) arguments: super::Arguments,
    pub(super) controller: ControllerSettings,
    pub(super) identity: Identity,
    pub(super) roots: PublicRoots,
    pub(super) telemetry: Telemetry,
    pub(super) connections: TaskTracker,
    pub(super) readiness: Readiness,
}

/// What an agent becomes ready by, one after the other.
pub(super) struct Waiting {
    pub(super) loaded: Option<ReadinessToken>,
    pub(super) configured: Option<ReadinessToken>,
    pub(super) enrolled: Option<ReadinessToken>,
}

impl Waiting {
    /// The node is served, if not by us.
    pub(super) fn over(&mut self) {
        self.loaded.take();
        self.configured.take();
        self.enrolled.take();
    }
}

/// Where a tenure's pods come from.
pub(super) enum Beginning {
    /// From what is pinned, and from what we had ourselves.
    Alone(Option<Inheritance>),
    /// From the agent that still has them.
    Beside(Predecessor),
}

/// How a tenure ended.
pub(super) enum Over {
    /// To this agent; and what it was given, should it be lost before we end.
    HandedOver(Successor, Inheritance),
    /// We never had the pods: the agent that was to hand them over did not.
    NotBegun,
}

/// A tenure. Dropping it says nothing to the kernel programs: the failure policy decides once the last beat has aged.
pub(super) struct Tenure<'a> {
    node: &'a Node,
    shared: Arc<Shared>,
    captured: CapturedPods,
    pods: PodWatch,
    controller: ControllerSource,
    reports: watch::Sender<AgentReport>,
    served: watch::Sender<Served>,
    /// Until it has handed over.
    predecessor: Option<Predecessor>,
    /// It takes the pods back if we are lost, until it ends itself.
    standing_by: Option<Standby>,
    /// Where the next agent comes to; None until the pods are ours.
    door: Option<(Door, Visitors)>,
    /// Where `weir explain` and `weir doctor` ask; for as long as the pods are ours.
    inspection: Option<InspectionServer>,
    settled: bool,
    /// When what earlier agents captured, and nobody names, is let go of. None: there is nothing, or it has been.
    forgets_at: Option<Instant>,
    /// Another agent is about to take the pods.
    giving: bool,
}

impl<'a> Tenure<'a> {
    /// Loads the programs, and calls the controller.
    pub(super) fn begin(
        node: &'a Node,
        beginning: Beginning,
        waiting: &mut Waiting,
    ) -> Result<Self, Failure> {
        let arguments = &node.arguments;
        let settings = CaptureSettings {
            exclude: arguments.exclude_cidr.clone(),
            ..CaptureSettings::default()
        };
        let (mut predecessor, mut inheritance) = match beginning {
            Beginning::Beside(predecessor) => (Some(predecessor), None),
            Beginning::Alone(inheritance) => (None, inheritance),
        };
        let capture = match (&predecessor, &inheritance) {
            (None, None) => NodeCapture::start(&settings, &arguments.bpf_root)?,
            _ => NodeCapture::beside(&settings, &arguments.bpf_root)?,
        };
        waiting.loaded.take();
        let pods = PodWatch::start(arguments.cgroup_root.as_deref(), &arguments.proc)?;
        let (reports, reported) = watch::channel(AgentReport::default());
        let configuration = match &mut predecessor {
            Some(predecessor) => predecessor.take_configuration(),
            None => inheritance.as_mut().and_then(|own| own.configuration.take()),
        };
        let controller = ControllerSource::start(node.controller.clone(), reported, configuration);
        let shared = Arc::new(Shared {
            node: node.controller.node.clone(),
            capture,
            snapshot: controller.snapshot(),
            telemetry: node.telemetry.clone(),
            upstream: Arc::new(Upstream::for_pods(UpstreamTls::new(Arc::clone(&node.roots)))),
            terminator: Arc::new(Terminator::new(Leaves::Controller(controller.leaves()))),
            sockets: SocketMaker::start()?,
            connections: node.connections.clone(),
            handed_over: CancellationToken::new(),
            draining: CancellationToken::new(),
            rejected: watch::channel(()).0,
        });
        let mut tenure = Self {
            node,
            captured: CapturedPods::new(Arc::clone(&shared)),
            shared,
            pods,
            controller,
            reports,
            served: watch::channel(Served::default()).0,
            predecessor,
            standing_by: None,
            door: None,
            inspection: None,
            settled: false,
            forgets_at: None,
            giving: false,
        };
        if tenure.predecessor.is_none() {
            tenure.captured.inherit(inheritance.unwrap_or_default().listeners);
            tenure.open_door()?;
        }
        Ok(tenure)
    }

    /// Keeps what is captured what the controller says, of the pods that are there.
    pub(super) async fn serve(&mut self, waiting: &mut Waiting) -> Result<Over, Failure> {
        let (mut found, mut wanted) = (self.pods.subscribe(), self.controller.workloads());
        let mut rejected = self.shared.rejected.subscribe();
        let mut release_all = self.controller.release_all();
        loop {
            let release_all_now = *release_all.borrow_and_update();
            let workloads = wanted.borrow_and_update().clone();
            let mut complete = true;
            if let Some(workloads) = workloads {
                waiting.configured.take();
                if let Some(predecessor) = &mut self.predecessor {
                    match predecessor.listeners().await {
                        Ok(listeners) => self.captured.inherit(listeners),
                        Err(error) => return Ok(not_begun(&error)),
                    }
                }
                let here = found.borrow_and_update().clone();
                complete = tokio::task::block_in_place(|| self.captured.reconcile(&here, &workloads));
                if !self.settled {
                    if let Err(error) = self.settle(&workloads).await? {
                        return Ok(not_begun(&error));
                    }
                    waiting.enrolled.take();
                }
                // Told to release all, it looks each time: a pod that could not be released before is pinned still.
                if release_all_now || self.forgets_at.is_some_and(|at| at <= Instant::now()) {
                    self.forgets_at = self.forget(&workloads, release_all_now);
                }
                self.report();
            }
            let again = async {
                match complete {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(TRY_AGAIN).await,
                }
            };
            let forgets_at = self.forgets_at;
            let forget = async {
                match forgets_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let lost = async {
                match &mut self.predecessor {
                    Some(predecessor) => predecessor.gone().await,
                    None => std::future::pending().await,
                }
            };
            let candidate = async {
                match &mut self.door {
                    Some((_, visitors)) => visitors.ready().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = found.changed() => changed?,
                changed = wanted.changed() => changed?,
                changed = release_all.changed() => changed?,
                () = again => {}
                () = forget => {}
                _ = rejected.changed() => {}
                () = lost => return Ok(Over::NotBegun),
                candidate = candidate => if let Some(over) = self.hand_over(candidate).await {
                    return Ok(over);
                },
            }
        }
    }

    /// All that could be captured is: the pods are ours.
    async fn settle(&mut self, workloads: &Workloads) -> Result<Result<(), HandoverError>, Failure> {
        if let Some(predecessor) = self.predecessor.take() {
            let version = predecessor.version().to_owned();
            match predecessor.taken().await {
                Ok(standing_by) => self.standing_by = Some(standing_by),
                Err(error) => return Ok(Err(error)),
            }
            tracing::info!(
                "taken over from agent {version}: {} pods",
                self.captured.uids().len()
            );
            self.open_door()?;
        }
        if let Err(error) = self.captured.forget_other_listeners() {
            tracing::warn!("where earlier agents listened could not be removed: {error}");
        }
        // Who answers us may be behind the replica of the controller that they heard it from.
        self.forgets_at = match self.captured.has_others() {
            Ok(false) => self.forget(workloads, false),
            Ok(true) | Err(_) => Some(Instant::now() + REPLICAS_AGREE_WITHIN),
        };
        self.settled = true;
        Ok(Ok(()))
    }

    /// Lets go of what earlier agents captured and nobody names. Says when to try again, if at all.
    fn forget(&self, workloads: &Workloads, is_told: bool) -> Option<Instant> {
        // Hung meanwhile, we may be an earlier agent ourselves.
        if !self.door.as_ref().is_some_and(|(door, _)| door.is_ours()) {
            return None;
        }
        let connected = self.controller.link().now().connected;
        let has_caught_up = connected
            .and_then(|since| since.elapsed().ok())
            .is_some_and(|time| time >= REPLICAS_AGREE_WITHIN);
        if self.settled && !is_told && !has_caught_up {
            return Some(Instant::now() + TRY_AGAIN);
        }
        match self.captured.keep_only(workloads) {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!("what earlier agents captured could not be removed: {error}; trying again");
                Some(Instant::now() + TRY_AGAIN)
            }
        }
    }

    fn open_door(&mut self) -> Result<(), Failure> {
        let (run_root, held) = (&self.node.arguments.run_root, self.controller.held());
        let door = Door::open(run_root, self.node.identity.clone(), move || held.all())
            .map_err(|error| format!("--run-root {}: {error}", run_root.display()))?;
        self.door = Some(door);
        let counters = self.shared.capture.counters();
        self.node.telemetry.report_dials(Some(dials::counter(counters)));
        self.inspection = InspectionServer::start(run_root, self.inspector())
            .inspect_err(|error| {
                let folder = run_root.display();
                tracing::warn!(
                    "--run-root {folder}: {error}; `weir explain` and `weir doctor` can't ask this agent"
                );
            })
            .ok();
        Ok(())
    }

    fn inspector(&self) -> Inspector {
        let arguments = &self.node.arguments;
        Inspector {
            controller: self.node.controller.clone(),
            link: self.controller.link(),
            snapshot: self.controller.snapshot(),
            leaves: self.controller.leaves(),
            wanted: self.controller.workloads(),
            found: self.pods.subscribe(),
            served: self.served.subscribe(),
            readiness: self.node.readiness.clone(),
            places: Places {
                bpf_root: arguments.bpf_root.clone(),
                cgroup_root: arguments.cgroup_root.clone(),
                proc: arguments.proc.clone(),
                excluded: arguments.exclude_cidr.clone(),
            },
        }
    }

    /// Tells the controller, and whoever asks.
    fn report(&self) {
        self.served.send_replace(self.captured.served());
        let now = AgentReport {
            captured_pods: self.captured.uids(),
            distrusts: self.captured.distrusts(),
        };
        self.reports.send_if_modified(|report| {
            let differs = *report != now;
            *report = now;
            differs
        });
    }

    /// Gives the pods to an agent that has come for them. None if they are still ours.
    async fn hand_over(&mut self, mut candidate: Candidate) -> Option<Over> {
        let listeners = match self.captured.listeners() {
            Ok(listeners) => listeners,
            Err(error) => {
                tracing::warn!("no handover: the listeners could not be duplicated: {error}");
                return None;
            }
        };
        self.giving = true;
        if let Err(error) = candidate.give(&listeners).await {
            self.giving = false;
            tracing::warn!("no handover: {error}; serving on");
            return None;
        }
        self.shared.capture.leave();
        self.node.telemetry.report_dials(None);
        self.shared.handed_over.cancel();
        self.shared.draining.cancel();
        // The next door takes the place of ours: it must not be ours that we remove then.
        self.door = None;
        self.inspection = None;
        tracing::info!(
            "handed over to agent {}: {} pods; {} open connections are served to their end",
            candidate.version(),
            listeners.len(),
            self.node.connections.len()
        );
        let inheritance = Inheritance {
            configuration: self.controller.held().all(),
            listeners,
        };
        Some(Over::HandedOver(candidate.done().await, inheritance))
    }

    /// Ends it with no agent to hand over to. True if the pods were ours and we were told that none is to be captured: nobody needs what is
    /// pinned. An agent that was not told keeps its hands off it, for it may be what its pods are captured by.
    pub(super) fn end(mut self) -> bool {
        self.shared.draining.cancel();
        let door = self.door.take();
        let ours = !self.giving && door.as_ref().is_some_and(|(door, _)| door.is_ours());
        // It has kept the listeners, and takes the pods back before our last beat has aged.
        let given_back = self
            .standing_by
            .as_mut()
            .is_some_and(|other| other.gone().now_or_never().is_none());
        if ours && !given_back {
            tracing::info!("ending: new connections follow each pod's failure policy");
            self.shared.capture.withdraw();
        }
        let wanted = self.controller.workloads();
        let is_told_of_none = wanted
            .borrow()
            .as_ref()
            .is_some_and(|workloads| workloads.is_empty());
        let is_done = self.forgets_at.is_none() || *self.controller.release_all().borrow();
        ours && !given_back && self.settled && is_told_of_none && is_done
    }
}

impl Drop for Tenure<'_> {
    fn drop(&mut self) {
        self.shared.capture.leave();
        self.node.telemetry.report_dials(None);
    }
}

fn not_begun(error: &HandoverError) -> Over {
    tracing::warn!("the pods were not handed over: {error}; asking again");
    Over::NotBegun
}
