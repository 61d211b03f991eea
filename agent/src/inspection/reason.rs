//! Why a pod is in its state, and the mend: from the label that decides to the command that a reader types.

use weir_api::proto;

use super::answer::{Label, State};
use super::explain::Knowledge;
use crate::capture::pods::{Found, PodUid};
use crate::policy::controller::{ObservedWhy, PodWorkload, Treatment};

/// Why a pod is in its state, and what to do if it should not be.
pub(super) struct Reason {
    pub(super) state: State,
    pub(super) why: String,
    pub(super) mend: Option<String>,
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

/// The label that decides: the pod's own goes before its namespace's, where its value is one that there is.
pub(super) fn label(answer: &proto::PodAnswer) -> Option<Label> {
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
pub(super) fn of_wanted(
    uid: &PodUid,
    workload: &PodWorkload,
    label: Option<&Label>,
    known: &Knowledge<'_>,
) -> Reason {
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
pub(super) fn of_unwanted(namespace: &str, pod: &str, known: &Knowledge<'_>) -> Reason {
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
    if answer.is_mirror {
        let why = "it is a static pod, which its node runs from a file: it is taken for nobody's, whatever its namespace and labels, for \
                   any node can have one in any namespace";
        return Reason::new(State::Bypassed, why)
            .mend("make it a pod of the API server's instead, such as a DaemonSet's");
    }
    if answer.host_network {
        return host_network();
    }
    if answer.is_exempt {
        let why = format!(
            "the chart's webhook.excludedNamespaces names its namespace {namespace}, which is left alone"
        );
        return Reason::new(State::Bypassed, why).mend(format!(
            "take {namespace} out of webhook.excludedNamespaces (helm upgrade), and then restart the pod"
        ));
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
         the pod runs on another node ({}); neither it nor its namespace is labelled weir.dev/intercept; it has hostNetwork, or is a static pod; its namespace is left alone",
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
