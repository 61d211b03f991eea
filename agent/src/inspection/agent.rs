//! What the agent knows, gathered for an answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use tokio::sync::watch;

use super::answer::{AgentAnswer, ControllerAnswer, Explanation, LeafAnswer, PodState, rfc3339};
use super::explain::{Knowledge, explain, name};
use crate::capture::pods::{PodUid, Pods};
use crate::lifecycle::Readiness;
use crate::policy::SnapshotHandle;
use crate::policy::controller::{
    ControllerLeaves, ControllerLink, ControllerSettings, PodWorkload, Workloads,
};
use crate::telemetry::Activity;

/// The pods that are served, and why others are not.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Those that are captured.
    pub pods: BTreeMap<PodUid, ServedPod>,
    /// Why a pod could not be captured, or changed, as it should be.
    pub problems: BTreeMap<PodUid, String>,
}

/// A pod that is captured.
#[derive(Clone, Debug)]
pub struct ServedPod {
    /// Who it is, and what becomes of its connections.
    pub workload: PodWorkload,
    /// Since when this agent serves it.
    pub since: SystemTime,
    /// What it has done.
    pub activity: Arc<Activity>,
}

/// Where the agent was told to look, and what to leave alone.
#[derive(Clone, Debug)]
pub struct Places {
    /// `--bpf-root`.
    pub bpf_root: PathBuf,
    /// `--cgroup-root`.
    pub cgroup_root: Option<PathBuf>,
    /// `--proc`.
    pub proc: PathBuf,
    /// `--exclude-cidr`.
    pub excluded: Vec<IpNet>,
}

/// All that answers are made from. Each part is a handle to what it is now.
#[derive(Debug)]
pub struct Inspector {
    /// Where the controller is, and who we are to it.
    pub controller: ControllerSettings,
    /// How it stands with it.
    pub link: ControllerLink,
    /// What it has sent.
    pub snapshot: SnapshotHandle,
    /// What it has signed.
    pub leaves: ControllerLeaves,
    /// The pods that are to be captured.
    pub wanted: watch::Receiver<Option<Arc<Workloads>>>,
    /// The pods that are there.
    pub found: watch::Receiver<Pods>,
    /// The pods that are served.
    pub served: watch::Receiver<Served>,
    /// What is still waited for.
    pub readiness: Readiness,
    /// Where the agent looks.
    pub places: Places,
}

impl Inspector {
    /// What there is to say of a pod. The controller is asked for what the agent itself is not told.
    pub async fn pod(&self, namespace: &str, pod: &str) -> Explanation {
        let asked = self.controller.explain(namespace, pod).await;
        let asked = asked.map_err(|error| error.to_string());
        let wanted = self.wanted.borrow().clone();
        let knowledge = Knowledge {
            node: &self.controller.node,
            weir_namespace: self.controller.namespace(),
            wanted: wanted.as_deref(),
            found: &self.found.borrow().clone(),
            served: &self.served.borrow().clone(),
            snapshot: &self.snapshot.load(),
            excluded: &self.places.excluded,
            has_leaf: &|host| self.leaves.leaf(host).is_some(),
            asked,
        };
        explain(namespace, pod, &knowledge)
    }

    /// What there is to say of the agent itself.
    pub fn agent(&self) -> AgentAnswer {
        let link = self.link.now();
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let leaves = self.leaves.ends().into_iter().map(|(host, end)| LeafAnswer {
            host,
            not_after: seconds(end),
        });
        let served = self.served.borrow().clone();
        let wanted = self.wanted.borrow().clone().unwrap_or_default();
        let pods = wanted
            .iter()
            .filter(|(uid, _)| served.pods.contains_key(*uid) || served.problems.contains_key(*uid));
        AgentAnswer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.controller.node.clone(),
            waiting_for: self
                .readiness
                .waiting_for()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            controller: ControllerAnswer {
                address: self.controller.address.to_string(),
                authorities: self.controller.authorities.clone(),
                token: self.controller.token.clone(),
                connected: link.connected.map(rfc3339),
                error: link.error,
                configured: link.configured.map(rfc3339),
            },
            bpf_root: self.places.bpf_root.clone(),
            cgroup_root: self.places.cgroup_root.clone(),
            proc: self.places.proc.clone(),
            leaves: leaves.collect(),
            pods: pods
                .map(|(uid, workload)| PodState {
                    uid: uid.to_string(),
                    name: name(workload),
                    problem: served.problems.get(uid).cloned(),
                })
                .collect(),
        }
    }
}
