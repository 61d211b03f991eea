//! From what is known to what is said of a pod: its state, why, and the mend.

use std::sync::Arc;

use ipnet::IpNet;
use weir_api::{Auth, Backend, Snapshot, proto};

use super::agent::{Served, ServedPod};
use super::answer::{
    BackendAnswer, Connections, Credential, Exchanges, Explanation, HostCount, ProblemAnswer,
    RejectionAnswer, rfc3339,
};
use super::reason;
use crate::capture::FailurePolicy;
use crate::capture::pods::{Found, PodUid, Pods};
use crate::policy::controller::{PodWorkload, Treatment, Workloads};

/// What is known at this moment.
pub(super) struct Knowledge<'a> {
    pub(super) node: &'a str,
    /// Weir's own, for commands.
    pub(super) weir_namespace: &'a str,
    /// `None`: no configuration has come yet.
    pub(super) wanted: Option<&'a Workloads>,
    pub(super) found: &'a Pods,
    pub(super) served: &'a Served,
    pub(super) snapshot: &'a Snapshot,
    pub(super) excluded: &'a [IpNet],
    pub(super) has_leaf: &'a dyn Fn(&str) -> bool,
    /// What the controller says to the question; or why it says nothing.
    pub(super) asked: Result<proto::PodAnswer, String>,
}

/// `namespace/name`.
pub(super) fn name(workload: &PodWorkload) -> String {
    let workload = &workload.workload;
    format!(
        "{}/{}",
        workload.namespace,
        workload.pod.as_deref().unwrap_or_default()
    )
}

pub(super) fn explain(namespace: &str, pod: &str, known: &Knowledge<'_>) -> Explanation {
    let wanted = find(namespace, pod, known);
    let label = known.asked.as_ref().ok().and_then(reason::label);
    let reason = match wanted {
        Some((uid, workload)) => reason::of_wanted(uid, workload, label.as_ref(), known),
        None => reason::of_unwanted(namespace, pod, known),
    };
    let answered_uid = known.asked.as_ref().ok().map(|answer| answer.uid.clone());
    let uid = wanted.map(|(uid, _)| uid.to_string()).or(answered_uid);
    let mut explanation = Explanation {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        node: known.node.to_owned(),
        state: reason.state,
        why: reason.why,
        mend: reason.mend,
        uid: uid.filter(|uid| !uid.is_empty()),
        label,
        since: None,
        service_account: None,
        failure_policy: None,
        excluded: Vec::new(),
        backends: Vec::new(),
        covered_hosts: Vec::new(),
        connections: None,
        exchanges: None,
        last_error: None,
        rejections: Vec::new(),
        relayed_hosts: Vec::new(),
        uncovered_hosts: Vec::new(),
    };
    if let Some((uid, workload)) = wanted {
        explanation.service_account = Some(workload.workload.service_account.clone());
        explanation.failure_policy = Some(match workload.on_failure {
            FailurePolicy::Open => "open".to_owned(),
            FailurePolicy::Closed => "closed".to_owned(),
        });
        explanation.excluded = known.excluded.iter().map(ToString::to_string).collect();
        explanation.backends = backends(workload, known);
        let covered = known.snapshot.covered(namespace);
        explanation.covered_hosts = covered.map(str::to_owned).collect();
        if let Some(served) = known.served.pods.get(uid) {
            add_activity(&mut explanation, served);
        }
    }
    explanation
}

/// The workload of that name. Of several, such as a StatefulSet's pod and its successor, the one that is served or at least there.
fn find<'a>(namespace: &str, pod: &str, known: &Knowledge<'a>) -> Option<(&'a PodUid, &'a PodWorkload)> {
    let is_it = |workload: &PodWorkload| {
        workload.workload.namespace == namespace && workload.workload.pod.as_deref() == Some(pod)
    };
    let all = known.wanted?.iter().filter(|(_, workload)| is_it(workload));
    all.max_by_key(|(uid, _)| {
        let is_there = matches!(known.found.get(*uid), Some(Found::Sandbox(_)));
        (is_there, known.served.pods.contains_key(*uid))
    })
}

fn backends(workload: &PodWorkload, known: &Knowledge<'_>) -> Vec<BackendAnswer> {
    let identity = workload.workload.identity();
    let is_served = workload.treatment == Treatment::Intercepted;
    // Hosts for which the namespace has a backend of its own are not those of one for all.
    let answer = |backend: &Arc<Backend>, hosts: Vec<String>| BackendAnswer {
        name: format!("{}/{}", backend.namespace, backend.name),
        provider: backend.provider.field().to_owned(),
        hosts_without_certificate: hosts
            .iter()
            .filter(|host| is_served && !(known.has_leaf)(host))
            .cloned()
            .collect(),
        hosts,
        endpoint: backend
            .endpoint
            .as_ref()
            .map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port)),
        credential: match &backend.auth {
            _ if !is_served => Credential::NotSent,
            Auth::Key(_) => Credential::Resolved,
            Auth::Passthrough => Credential::Passthrough,
            Auth::Unresolved(why) => Credential::Unresolved(why.clone()),
        },
        policies: known
            .snapshot
            .policy(backend, &identity)
            .policies()
            .iter()
            .map(|policy| format!("{}/{}", policy.namespace, policy.name))
            .collect(),
    };
    known
        .snapshot
        .backends()
        .iter()
        .filter_map(|backend| {
            let hosts = known.snapshot.hosts_of(backend, &identity.namespace);
            let hosts: Vec<String> = hosts.cloned().collect();
            (!hosts.is_empty()).then(|| answer(backend, hosts))
        })
        .collect()
}

fn add_activity(explanation: &mut Explanation, served: &ServedPod) {
    let activity = served.activity.now();
    let counts = |hosts: std::collections::BTreeMap<String, u64>| {
        let counts = hosts
            .into_iter()
            .map(|(host, connections)| HostCount { host, connections });
        counts.collect()
    };
    explanation.since = Some(rfc3339(served.since));
    explanation.connections = Some(Connections {
        terminated: activity.terminated,
        relayed: activity.relayed,
        refused: activity.refused,
    });
    explanation.exchanges = Some(Exchanges {
        total: activity.exchanges,
        failed: activity.failed,
    });
    explanation.last_error = activity.last_error.map(|problem| ProblemAnswer {
        time: rfc3339(problem.time),
        what: problem.what,
        host: problem.host,
    });
    explanation.relayed_hosts = counts(activity.relayed_hosts);
    explanation.uncovered_hosts = counts(activity.uncovered_hosts);
    let rejections = activity
        .rejections
        .into_iter()
        .map(|(rejection, since)| RejectionAnswer {
            command: rejection.command,
            host: rejection.host,
            since: rfc3339(since),
        });
    explanation.rejections = rejections.collect();
}
