//! From what is known to what is said of a pod: its state, why, and the mend.

use std::sync::Arc;

use ipnet::IpNet;
use weir_api::{Auth, Backend, Snapshot, proto};

use super::agent::{Served, ServedPod};
use super::answer::{
    BackendAnswer, Connections, Credential, Exchanges, Explanation, HostCount, Label, ProblemAnswer,
    RejectionAnswer, State, rfc3339,
};
use crate::capture::FailurePolicy;
use crate::capture::pods::{Found, PodUid, Pods};
use crate::policy::controller::{ObservedWhy, PodWorkload, Treatment, Workloads};

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

/// Why a pod is in its state, and what to do if it should not be.
struct Reason {
    state: State,
    why: String,
    mend: Option<String>,
}

impl Reason {
    fn new(state: State, why: impl Into<String>) -> Self {
        Self {
            state,
            why: why.into(),
            mend: None,
        }
    }

    fn mend(self, mend: impl Into<String>) -> Self {
        Self {
            mend: Some(mend.into()),
            ..self
        }
    }
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
    let label = known.asked.as_ref().ok().and_then(label);
    let reason = match wanted {
        Some((uid, workload)) => of_wanted(uid, workload, label.as_ref(), known),
        None => of_unwanted(namespace, pod, known),
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

/// The label that decides: the pod's own goes before its namespace's, where its value is one that there is.
fn label(answer: &proto::PodAnswer) -> Option<Label> {
    let of = |value: &str, of: &str| Label {
        value: value.to_owned(),
        of: of.to_owned(),
    };
    let is_known = |value: &str| ["enabled", "observe", "disabled"].contains(&value);
    [
        (answer.pod_label.as_str(), "pod"),
        (answer.namespace_label.as_str(), "namespace"),
    ]
    .into_iter()
    .find(|(value, _)| is_known(value))
    .map(|(value, whose)| of(value, whose))
}

fn labelled(label: Option<&Label>) -> String {
    match label {
        Some(label) => format!("the {} is labelled weir.dev/intercept={}", label.of, label.value),
        None => "the controller says so".to_owned(),
    }
}

/// Of a pod that is to be captured.
fn of_wanted(uid: &PodUid, workload: &PodWorkload, label: Option<&Label>, known: &Knowledge<'_>) -> Reason {
    let problem = known.served.problems.get(uid);
    if !known.served.pods.contains_key(uid) {
        return not_served(uid, workload, problem, known);
    }
    let labelled = labelled(label);
    let reason = match workload.treatment {
        Treatment::Intercepted => Reason::new(
            State::Captured,
            format!("{labelled}, and the pod was given Weir's root to trust"),
        ),
        Treatment::Observed(ObservedWhy::Label) => Reason::new(State::Observed, labelled),
        Treatment::Observed(ObservedWhy::Untrusting) => Reason::new(
            State::Untrusted,
            format!(
                "{labelled}, but the pod was made before Weir's webhook could give it Weir's root to trust, or while the \
                 webhook was away; so it is only observed"
            ),
        )
        .mend(format!(
            "restart it: kubectl delete pod -n {} {}, or kubectl rollout restart what it belongs to",
            workload.workload.namespace,
            workload.workload.pod.as_deref().unwrap_or_default()
        )),
        Treatment::Observed(ObservedWhy::Policy) => Reason::new(
            State::Observed,
            format!("{labelled}, but a policy that targets the pod could not be taken, and without it nothing is served"),
        )
        .mend("kubectl describe aipolicies -A says what is wrong with it; update the agent if it is older than the controller"),
    };
    match problem {
        Some(problem) => Reason {
            why: format!(
                "{}; what has changed since could not be taken over: {problem}",
                reason.why
            ),
            ..reason
        },
        None => reason,
    }
}

fn not_served(
    uid: &PodUid,
    workload: &PodWorkload,
    problem: Option<&String>,
    known: &Knowledge<'_>,
) -> Reason {
    let (namespace, pod) = (
        &workload.workload.namespace,
        workload.workload.pod.as_deref().unwrap_or_default(),
    );
    if let Some(problem) = problem {
        return Reason::new(
            State::Pending,
            format!("capturing it failed: {problem}; it is tried again"),
        )
        .mend(format!("weir doctor checks this node: {}", doctor(known)));
    }
    match known.found.get(uid) {
        None => Reason::new(
            State::Pending,
            format!(
                "no cgroup of its uid {uid} is to be seen on this node: it has not started, or has ended"
            ),
        )
        .mend(format!(
            "kubectl describe pod -n {namespace} {pod}; if it runs, the agent looks in the wrong place: {}",
            doctor(known)
        )),
        Some(Found::Empty) => Reason::new(State::Pending, "its cgroup is there, and no process in it yet")
            .mend(format!("kubectl describe pod -n {namespace} {pod}")),
        Some(Found::HostNetwork) => host_network(),
        Some(Found::Sandbox(_)) => Reason::new(State::Pending, "it is about to be captured"),
    }
}

fn host_network() -> Reason {
    Reason::new(
        State::Bypassed,
        "it is in its node's network (hostNetwork), where Weir never captures: that would capture the node",
    )
    .mend("run it without hostNetwork")
}

/// Of a pod that no Workload was sent for.
fn of_unwanted(namespace: &str, pod: &str, known: &Knowledge<'_>) -> Reason {
    let answer = match &known.asked {
        Ok(answer) => answer,
        Err(error) => return unanswered(namespace, pod, error, known),
    };
    if !answer.is_here {
        return Reason::new(
            State::Elsewhere,
            format!(
                "the controller knows no pod {namespace}/{pod} on node {}",
                known.node
            ),
        )
        .mend(format!(
            "ask the agent of its own node: {}",
            ask_its_node(namespace, pod, known)
        ));
    }
    if answer.is_over {
        return Reason::new(State::Bypassed, "it has ended: nothing of it runs any more");
    }
    if answer.of_weir {
        return Reason::new(
            State::Bypassed,
            format!("it is of Weir's own namespace {namespace}, which is left alone"),
        );
    }
    if answer.host_network {
        return host_network();
    }
    match label(answer) {
        Some(label) if label.value == "disabled" => {
            let why = labelled(Some(&label));
            Reason::new(State::Bypassed, why).mend(match label.of.as_str() {
                "pod" => "take the label out of the pod's template, and restart it".to_owned(),
                _ => enable(namespace),
            })
        }
        Some(label) => Reason::new(
            State::Pending,
            format!(
                "{}, and the controller has not told this agent of it yet",
                labelled(Some(&label))
            ),
        )
        .mend(format!(
            "ask again in a moment; if it stays, kubectl logs -n {} deploy/weir-controller says why",
            known.weir_namespace
        )),
        None => {
            let odd = [&answer.pod_label, &answer.namespace_label]
                .into_iter()
                .find(|value| !value.is_empty());
            let why = match odd {
                Some(value) => format!(
                    "weir.dev/intercept={value} is none of enabled, observe, disabled, so that it says nothing"
                ),
                None => {
                    format!("neither the pod nor its namespace {namespace} is labelled weir.dev/intercept")
                }
            };
            Reason::new(State::Bypassed, why).mend(enable(namespace))
        }
    }
}

fn enable(namespace: &str) -> String {
    format!(
        "kubectl label namespace {namespace} weir.dev/intercept=enabled --overwrite, and then restart the pod, so that it is \
         given Weir's root to trust"
    )
}

fn unanswered(namespace: &str, pod: &str, error: &str, known: &Knowledge<'_>) -> Reason {
    let known_so_far = match known.wanted {
        None => "no configuration has come from the controller",
        Some(_) => "the controller has not named it among the pods to capture here",
    };
    Reason::new(
        State::Unknown,
        format!("{known_so_far}, and it cannot be asked: {error}"),
    )
    .mend(format!(
        "once the controller answers (kubectl get pods -n {} -l app.kubernetes.io/component=controller), ask again. Else it is one of these: \
         the pod runs on another node ({}); neither it nor its namespace is labelled weir.dev/intercept; it has hostNetwork",
        known.weir_namespace,
        ask_its_node(namespace, pod, known)
    ))
}

/// A command that finds the agent of a pod's node, and asks it.
fn ask_its_node(namespace: &str, pod: &str, known: &Knowledge<'_>) -> String {
    let weir = known.weir_namespace;
    format!(
        "kubectl exec -n {weir} \"$(kubectl get pods -n {weir} -l app.kubernetes.io/component=agent -o name --field-selector \
         spec.nodeName=\"$(kubectl get pod -n {namespace} {pod} -o jsonpath='{{.spec.nodeName}}')\")\" -- weir explain pod {namespace}/{pod}"
    )
}

fn doctor(known: &Knowledge<'_>) -> String {
    let weir = known.weir_namespace;
    format!(
        "kubectl exec -n {weir} \"$(kubectl get pods -n {weir} -l app.kubernetes.io/component=agent -o name --field-selector \
         spec.nodeName={})\" -- weir doctor",
        known.node
    )
}

fn backends(workload: &PodWorkload, known: &Knowledge<'_>) -> Vec<BackendAnswer> {
    let identity = workload.workload.identity();
    let is_served = workload.treatment == Treatment::Intercepted;
    let may_use = |backend: &&Arc<Backend>| backend.allowed_namespaces.contains(&identity.namespace);
    let answer = |backend: &Arc<Backend>| BackendAnswer {
        name: format!("{}/{}", backend.namespace, backend.name),
        provider: backend.provider.field().to_owned(),
        hosts: backend.hosts.clone(),
        hosts_without_certificate: backend
            .hosts
            .iter()
            .filter(|host| is_served && !(known.has_leaf)(host))
            .cloned()
            .collect(),
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
        .filter(may_use)
        .map(answer)
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
