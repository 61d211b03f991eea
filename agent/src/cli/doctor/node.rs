//! A node, seen from its agent's container.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Check, common, token};
use crate::capture::pods::{Found, PodUid, PodWatch, Pods};
use crate::capture::preflight::FOR_NODE;
use crate::capture::{CaptureSettings, PinnedCapture};
use crate::inspection::{self, AgentAnswer, ControllerAnswer, Question, rfc3339};
use crate::policy::controller::ControllerSettings;

/// Examines it from the kernel up. What only the agent knows it is asked for; where it does not answer, its usual places are
/// looked at.
pub(super) async fn examine(run_root: &Path) -> Vec<Check> {
    let mut checks = common::kernel(
        &FOR_NODE,
        "the chart's DaemonSet names them (securityContext.capabilities); a policy of the cluster may take them away",
    );
    let asked = ask(run_root);
    let answer = asked.as_ref().ok();
    let bpf_root = answer.map_or(Path::new("/sys/fs/bpf"), |answer| answer.bpf_root.as_path());
    checks.push(Check::new("bpffs", bpffs(bpf_root)));
    let pinned = PinnedCapture::open(bpf_root);
    let cgroup_root = answer.and_then(|answer| answer.cgroup_root.as_deref());
    let proc = answer.map_or(Path::new("/proc"), |answer| answer.proc.as_path());
    let pods = PodWatch::start(cgroup_root, proc).map(|watch| watch.subscribe().borrow().clone());
    let pods = pods.map_err(|error| error.to_string());
    checks.push(Check::new(
        "cgroup2",
        pods.as_ref().map_err(Clone::clone).and_then(seen),
    ));
    checks.push(Check::new(
        "agent",
        asked.as_ref().map_err(Clone::clone).and_then(ready),
    ));
    checks.push(Check::new(
        "pins",
        pinned
            .as_ref()
            .map(|_| format!("{} has our maps", bpf_root.join("weir").display())),
    ));
    if let Ok(pinned) = &pinned {
        checks.push(Check::new("heartbeat", heartbeat(pinned)));
        if let (Ok(pods), Some(before), Ok(after)) = (&pods, answer, &ask(run_root)) {
            checks.push(Check::new("pods", captured(pinned, pods, before, after)));
        }
    }
    if let Some(answer) = answer {
        checks.extend(controller(answer).await);
    }
    checks.extend(common::trust());
    checks
}

fn ask(run_root: &Path) -> Result<AgentAnswer, String> {
    inspection::ask(run_root, &Question::Agent).map_err(|error| error.to_string())
}

fn bpffs(root: &Path) -> Result<String, String> {
    let shown = root.display();
    let is_bpffs = File::open(root).and_then(|folder| crate::capture::is_bpffs(&folder));
    match is_bpffs {
        Ok(true) => Ok(format!("mounted at {shown}")),
        Ok(false) => Err(format!(
            "{shown} is none: mount one on the node (mount -t bpf bpf /sys/fs/bpf; systemd does so at boot), which the chart mounts by hostPath"
        )),
        Err(error) => Err(format!("{shown}: {error}; the chart mounts it by hostPath")),
    }
}

/// The agent's own pod is one, so that there is at least one.
fn seen(pods: &Pods) -> Result<String, String> {
    let inhabited = pods
        .values()
        .filter(|found| !matches!(found, Found::Empty))
        .count();
    match (pods.len(), inhabited) {
        (0, _) => Err("no pod's cgroup is to be seen: the node's /sys/fs/cgroup has to be mounted by hostPath, as the chart does, \
                       and cgroup2 has to be in it (at /sys/fs/cgroup, or /sys/fs/cgroup/unified)"
            .to_owned()),
        (_, 0) => Err("pods' cgroups are to be seen, and none of their processes: the agent needs hostPID: true, as the chart has it".to_owned()),
        (all, _) => Ok(format!("{all} pods of this node are to be seen")),
    }
}

fn ready(answer: &AgentAnswer) -> Result<String, String> {
    let name = format!("version {} on {}", answer.version, answer.node);
    match answer.waiting_for.as_slice() {
        [] => Ok(format!("{name}, ready")),
        parts => Err(format!(
            "{name}, waiting for {}; its log says what for, and the checks below may",
            parts.join(", ")
        )),
    }
}

fn heartbeat(pinned: &PinnedCapture) -> Result<String, String> {
    const MEND: &str = "new connections follow each pod's failure policy meanwhile; its log says why, and whether the node is \
                        overloaded";
    let bound = CaptureSettings::default().heartbeat_bound;
    match pinned.heartbeat_age().map_err(|error| error.to_string())? {
        Some(age) if age <= bound => Ok(format!("{} ms ago", age.as_millis())),
        Some(age) => Err(format!(
            "the agent has given no sign of life for {:.1} s; {MEND}",
            age.as_secs_f64()
        )),
        None => Err(format!(
            "the agent has withdrawn its sign of life, as one that ends does; {MEND}"
        )),
    }
}

/// Holds what the agent says that it captures against what is attached, and listens. Pods come and go meanwhile: only those are
/// judged that it named before and after the look.
fn captured(
    pinned: &PinnedCapture,
    found: &Pods,
    before: &AgentAnswer,
    after: &AgentAnswer,
) -> Result<String, String> {
    let names: BTreeMap<&str, (&str, Option<&String>)> = after
        .pods
        .iter()
        .map(|pod| (pod.uid.as_str(), (pod.name.as_str(), pod.problem.as_ref())))
        .collect();
    let mut faults = Vec::new();
    let mut good = 0;
    for pod in &before.pods {
        let Some((name, problem)) = names.get(pod.uid.as_str()) else {
            continue;
        };
        if let (Some(problem), Some(_)) = (problem, &pod.problem) {
            faults.push(format!("{name}: {problem}"));
            continue;
        }
        let Some(Found::Sandbox(sandbox)) = PodUid::parse(&pod.uid).and_then(|uid| found.get(&uid)) else {
            continue;
        };
        match pinned.check(sandbox) {
            Ok(()) => good += 1,
            Err(fault) => faults.push(format!("{name}: {fault}")),
        }
    }
    let known: BTreeSet<&str> = before
        .pods
        .iter()
        .chain(&after.pods)
        .map(|pod| pod.uid.as_str())
        .collect();
    for uid in pinned.pods().map_err(|error| error.to_string())? {
        if !known.contains(uid.as_str()) && found.contains_key(&uid) {
            faults.push(format!(
                "pod {uid} is captured, and the agent knows nothing of it"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(format!(
            "{good} captured, each with its programs and its listener"
        ));
    }
    Err(format!(
        "{}. An agent that starts enrols its pods anew: kubectl delete pod, of this node's agent",
        faults.join("; ")
    ))
}

async fn controller(answer: &AgentAnswer) -> Vec<Check> {
    let now = SystemTime::now();
    let ControllerAnswer {
        address,
        authorities,
        token,
        ..
    } = &answer.controller;
    vec![
        Check::new("controller's CA", token::check_authorities(authorities, now)),
        Check::new("token", token::check_token(token, now)),
        Check::new("controller", reached(answer, address, authorities, token).await),
        Check::new("configuration", configured(&answer.controller)),
        Check::new("certificates", leaves(answer, now)),
    ]
}

/// By a call of our own, so that what is wrong is seen as it is now; and as the agent sees it.
async fn reached(
    answer: &AgentAnswer,
    address: &str,
    authorities: &Path,
    token: &Path,
) -> Result<String, String> {
    const MEND: &str = "kubectl get pods -A -l app.kubernetes.io/component=controller says whether it runs; a NetworkPolicy or \
                        the cluster's DNS may be in the way";
    let parsed = address
        .parse()
        .map_err(|error| format!("{address}: {error}; set --controller"))?;
    let settings = ControllerSettings {
        node: answer.node.clone(),
        address: parsed,
        authorities: authorities.to_owned(),
        token: token.to_owned(),
    };
    // Any question will do: that it is answered shows that we are let in.
    let namespace = settings.namespace().to_owned();
    settings
        .explain(&namespace, "doctor")
        .await
        .map_err(|error| format!("{error}; {MEND}"))?;
    match (&answer.controller.connected, &answer.controller.error) {
        (Some(since), _) => Ok(format!(
            "{address} answers, its certificate is good, the token is accepted; the agent's stream stands since {since}"
        )),
        (None, error) => Err(format!(
            "{address} answers us, but the agent has no stream to it{}: it tries again every minute at most",
            error
                .as_ref()
                .map(|error| format!(" ({error})"))
                .unwrap_or_default()
        )),
    }
}

fn configured(controller: &ControllerAnswer) -> Result<String, String> {
    match &controller.configured {
        Some(when) => Ok(format!("last taken {when}")),
        None => Err("none has come yet, so that nothing is captured anew: see `controller`".to_owned()),
    }
}

fn leaves(answer: &AgentAnswer, now: SystemTime) -> Result<String, String> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ended: Vec<&str> = answer
        .leaves
        .iter()
        .filter(|leaf| leaf.not_after < now)
        .map(|leaf| leaf.host.as_str())
        .collect();
    if !ended.is_empty() {
        return Err(format!(
            "those for {} have ended: the controller renews them after 12 hours, so it has been away for long, or the clock is wrong",
            ended.join(", ")
        ));
    }
    let first = answer.leaves.iter().map(|leaf| leaf.not_after).min();
    Ok(match first {
        Some(end) => {
            let end = rfc3339(UNIX_EPOCH + Duration::from_secs(end));
            format!("for {} hosts, the first good until {end}", answer.leaves.len())
        }
        None => "none, for no captured pod here may use a backend".to_owned(),
    })
}
