//! Capture of the pods of a node.
//!
//! One set of programs and maps serves all of them: two loaded sets, in fact, one for each failure policy, on the same
//! maps. The maps and each pod's links are pinned, so that pods stay as they are while no agent runs, and the next one
//! takes them over.

mod diagnosis;
mod handed;
mod pins;

use std::{
    collections::BTreeSet,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::ProgramError,
};
use parking_lot::Mutex;
use weir_ebpf_common::Enrolment;

pub use self::diagnosis::{PinnedCapture, PodFault, load_programs};
pub use self::handed::PodListener;
pub use self::pins::PinsIdentity;

use self::pins::Pins;
use super::{
    CaptureCounters, CaptureError, CaptureSettings, CapturedConnection, Cgroup, FailurePolicy,
    attach::{DECIDING, SERVING},
    heartbeat::Heartbeat,
    listener::{Listener, Sockets},
    origin::Origins,
    pods::PodUid,
    program,
    sys::{AttachType, links::Link},
};
use crate::network_namespace::NetworkNamespace;

/// Where the listener stands in a pod, unless the app has taken the port.
const PREFERRED_PORT: u16 = 15001;

/// What capture needs to know of a pod: found in cgroupfs and proc.
#[derive(Clone, Debug)]
pub struct PodSandbox {
    /// The pod's uid.
    pub uid: PodUid,
    /// The pod's own cgroup, above those of its containers.
    pub cgroup: PathBuf,
    /// The cgroup's id, which is its folder's inode: another pod's cgroup of the same name has another.
    pub cgroup_id: u64,
    /// The network namespace that its containers share.
    pub network_namespace: Arc<NetworkNamespace>,
}

impl PodSandbox {
    /// Whether both are the same, and not a pod and its successor of the same uid.
    pub fn is(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.cgroup == other.cgroup
            && self.cgroup_id == other.cgroup_id
            && self.network_namespace.identity() == other.network_namespace.identity()
    }
}

/// The loaded programs of one failure policy, by name.
struct ProgramSet(Vec<(&'static str, AttachType, OwnedFd)>);

impl ProgramSet {
    fn of(programs: &Ebpf) -> Result<Self, CaptureError> {
        let descriptor = |name: &'static str| {
            let program = programs.program(name).ok_or_else(|| ProgramError::InvalidName {
                name: name.to_owned(),
            })?;
            Ok(program.fd()?.as_fd().try_clone_to_owned()?)
        };
        SERVING
            .iter()
            .chain(&DECIDING)
            .map(|&(name, kind)| {
                let program = descriptor(name).map_err(|error| CaptureError::loading(name, error))?;
                Ok((name, kind, program))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The capture of a node's pods.
///
/// Dropping it withdraws the heartbeat: the failure policy of each pod decides from there on. Nothing is detached.
pub struct NodeCapture {
    heartbeat: Heartbeat,
    pins: Pins,
    open: ProgramSet,
    closed: ProgramSet,
    enrolments: Mutex<HashMap<MapData, u64, Enrolment>>,
    origins: Arc<Origins>,
    counters: Arc<CaptureCounters>,
}

impl NodeCapture {
    /// Loads the programs onto the maps that are pinned below `bpf_root`, a bpffs; and removes what is pinned for pods that
    /// are gone. Pods of an agent before us stay captured by its programs until they are enrolled again or
    /// [forgotten](Self::keep_only). `settings.on_failure` is not heeded: it is each pod's own.
    ///
    /// Call it inside a tokio runtime with I/O and time.
    pub fn start(settings: &CaptureSettings, bpf_root: &Path) -> Result<Self, CaptureError> {
        let capture = Self::beside(settings, bpf_root)?;
        // The listeners of an agent before us are gone with it, or hang.
        capture.forget_others(&[])?;
        Ok(capture)
    }

    /// As [`start`](Self::start), beside another agent that still serves with the same maps: where it listens is kept, until
    /// its listeners are [taken over](Self::take_over) and the rest is [forgotten](Self::forget_others).
    pub fn beside(settings: &CaptureSettings, bpf_root: &Path) -> Result<Self, CaptureError> {
        let pins = Pins::open(bpf_root)?;
        let load = |on_failure| {
            let settings = CaptureSettings {
                on_failure,
                ..settings.clone()
            };
            program::load(&settings, Some(&pins.maps()))
        };
        let mut open = load(FailurePolicy::Open)?;
        let closed = ProgramSet::of(&load(FailurePolicy::Closed)?)?;
        let maps = program::take_maps(&mut open, settings)?;
        let capture = Self {
            heartbeat: Heartbeat::start(maps.heartbeat, settings.heartbeat_bound)?,
            open: ProgramSet::of(&open)?,
            closed,
            enrolments: Mutex::new(maps.enrolments),
            origins: Arc::new(Origins::new(maps.origins)),
            counters: Arc::new(CaptureCounters::new(maps.counts)),
            pins,
        };
        for uid in capture.pins.pinned_pods()? {
            if capture.pins.is_dead(&uid) {
                capture.pins.remove_pod(&uid)?;
            }
        }
        Ok(capture)
    }

    /// Captures what the pod's processes dial from here on. A pod that is captured already, by an agent before us or under
    /// another failure policy, is so without a gap.
    ///
    /// Call it inside a tokio runtime with I/O.
    pub fn enrol(&self, pod: &PodSandbox, on_failure: FailurePolicy) -> Result<PodCapture, CaptureError> {
        let sockets = pod
            .network_namespace
            .inside(|| Sockets::open(PREFERRED_PORT))
            .map_err(CaptureError::Listener)?;
        self.capture(pod, on_failure, sockets)
    }

    /// As [`enrol`](Self::enrol), with the listener that another agent has handed over for this pod.
    pub fn take_over(
        &self,
        pod: &PodSandbox,
        on_failure: FailurePolicy,
        listener: PodListener,
    ) -> Result<PodCapture, CaptureError> {
        let sockets = listener.sockets().map_err(CaptureError::Listener)?;
        self.capture(pod, on_failure, sockets)
    }

    fn capture(
        &self,
        pod: &PodSandbox,
        on_failure: FailurePolicy,
        sockets: Sockets,
    ) -> Result<PodCapture, CaptureError> {
        let listener = Listener::new(sockets).map_err(CaptureError::Listener)?;
        let namespace = listener.network_namespace;
        self.enrolments
            .lock()
            .insert(namespace, listener.enrolment(), 0)?;
        let capture = PodCapture {
            uid: pod.uid.clone(),
            listener,
            origins: Arc::clone(&self.origins),
        };
        self.attach(pod, on_failure).inspect_err(|_| {
            // What is attached stays: a pod that an agent before us has shut must not be opened by a failure of ours.
            let _ = self.enrolments.lock().remove(&namespace);
        })?;
        // Their heartbeat is not ours: under Closed they would refuse what ours redirect.
        if let Err(error) = self.pins.remove_pod_of_other_versions(&pod.uid) {
            tracing::warn!(
                "what another version of the agent attached to pod {} stays: {error}",
                pod.uid
            );
        }
        Ok(capture)
    }

    /// Changes what becomes of a captured pod's connections while the agent is away, without a gap.
    pub fn attach(&self, pod: &PodSandbox, on_failure: FailurePolicy) -> Result<(), CaptureError> {
        let cgroup = Cgroup::open(&pod.cgroup).directory()?;
        let id = cgroup
            .metadata()
            .map_err(CaptureError::pin(&pod.cgroup, "look at"))?
            .ino();
        if id != pod.cgroup_id {
            return Err(CaptureError::Replaced(pod.uid.clone()));
        }
        let folder = self.pins.make_pod(&pod.uid)?;
        let programs = match on_failure {
            FailurePolicy::Open => &self.open,
            FailurePolicy::Closed => &self.closed,
        };
        for (name, kind, program) in &programs.0 {
            attach(&folder.join(name), program.as_fd(), cgroup.as_fd(), id, *kind)
                .map_err(|error| CaptureError::attaching(name, error.into()))?;
        }
        Ok(())
    }

    /// Ends a pod's capture: what its processes dial next goes where they dial it. Connections that are redirected already
    /// can still be accepted.
    pub fn release(&self, pod: &PodCapture) -> Result<(), CaptureError> {
        // Detached first: under Closed, a pod without an enrolment is shut.
        let detached = self.pins.remove_pod(&pod.uid);
        match self.enrolments.lock().remove(&pod.listener.network_namespace) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        detached
    }

    /// Detaches what earlier agents attached to pods other than these, and all that agents with other pins did. To be called when it is
    /// known which pods are to be captured.
    pub fn keep_only(&self, wanted: impl Fn(&PodUid) -> bool) -> Result<(), CaptureError> {
        // One that can't be removed keeps no other.
        let mut outcome = Ok(());
        for uid in self.pins.pinned_pods()? {
            if !wanted(&uid) {
                outcome = outcome.and(self.pins.remove_pod(&uid));
            }
        }
        outcome.and(self.pins.remove_other_versions())
    }

    /// Whether earlier agents attached anything to pods other than these.
    pub fn has_others(&self, captured: impl Fn(&PodUid) -> bool) -> Result<bool, CaptureError> {
        let pinned = self.pins.pinned_pods_of_any_version()?;
        Ok(pinned.iter().any(|uid| !captured(uid)))
    }

    /// Has the programs forget the listeners of all pods but these.
    pub fn forget_others(&self, captured: &[&PodCapture]) -> Result<(), CaptureError> {
        let kept: BTreeSet<u64> = captured
            .iter()
            .map(|pod| pod.listener.network_namespace)
            .collect();
        let mut enrolments = self.enrolments.lock();
        for namespace in enrolments.keys().collect::<Result<Vec<_>, _>>()? {
            if !kept.contains(&namespace) {
                enrolments.remove(&namespace)?;
            }
        }
        Ok(())
    }

    /// What tells the pins of this version below `bpf_root` from all others: two agents with the same may hand over.
    pub fn identity(bpf_root: &Path) -> Result<PinsIdentity, CaptureError> {
        Pins::open(bpf_root)?.identity()
    }

    /// Removes all that agents of any version have pinned below `bpf_root`, and with it attached. True if there was anything.
    pub fn remove_all(bpf_root: &Path) -> Result<bool, CaptureError> {
        Pins::remove_all(bpf_root)
    }

    /// What becomes of the connections of all pods, and became of them under earlier agents.
    pub fn counters(&self) -> Arc<CaptureCounters> {
        Arc::clone(&self.counters)
    }

    /// Withdraws the sign of life: from here on each pod's failure policy decides.
    pub fn withdraw(&self) {
        self.heartbeat.withdraw();
    }

    /// Leaves the sign of life to the agent that has taken over.
    pub fn leave(&self) {
        self.heartbeat.leave();
    }
}

/// Attaches a program, or puts it into the place of the one that is attached by the link pinned there.
fn attach(
    pin: &Path,
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    cgroup_id: u64,
    kind: AttachType,
) -> std::io::Result<()> {
    match Link::open(pin) {
        Ok(link) if link.cgroup()? == cgroup_id => return link.update(program),
        // Of a cgroup that is gone, and whose uid has returned.
        Ok(_) => std::fs::remove_file(pin)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Link::create(program, cgroup, kind)?.pin(pin)
}

/// A captured pod: the listener in its network namespace.
#[derive(Debug)]
pub struct PodCapture {
    uid: PodUid,
    listener: Listener,
    origins: Arc<Origins>,
}

impl PodCapture {
    /// The next captured connection, as [`Capture::accept`](super::Capture::accept).
    pub async fn accept(&self) -> CapturedConnection {
        self.listener.captured(&self.origins).await
    }

    /// The listener's ports on 127.0.0.1 and, where there is IPv6, on `[::1]`.
    pub fn listener_ports(&self) -> (u16, Option<u16>) {
        (
            self.listener.port_v4,
            (self.listener.port_v6 != 0).then_some(self.listener.port_v6),
        )
    }
}
