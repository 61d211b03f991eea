use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use weir_api::resource::resource;
use weir_api::{Snapshot, proto};

use super::agent::{Served, ServedPod};
use super::answer::{Explanation, State};
use super::explain::{Knowledge, explain};
use crate::capture::FailurePolicy;
use crate::capture::pods::{Found, PodUid, Pods};
use crate::policy::controller::{ObservedWhy, PodWorkload, Treatment, Workloads};
use crate::telemetry::record::{ConnectionKind, Workload};
use crate::telemetry::{Activity, Telemetry};

const UID: &str = "0f5c8f70-1b2d-4b8e-9c70-000000000001";

fn uid() -> PodUid {
    PodUid::parse(UID).expect("a uid")
}

fn workload(treatment: Treatment) -> PodWorkload {
    PodWorkload {
        workload: Arc::new(Workload {
            namespace: "shop".to_owned(),
            pod: Some("till".to_owned()),
            uid: Some(UID.to_owned()),
            service_account: "cashier".to_owned(),
        }),
        treatment,
        on_failure: FailurePolicy::Open,
    }
}

/// A backend with a policy and without a key; and one of another namespace.
fn snapshot() -> Snapshot {
    use proto::resource::Body;
    let backend = |namespace: &str, name: &str, auth, policies: &[&str]| {
        let body = proto::Backend {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            provider: "openai".to_owned(),
            hosts: vec![format!("api.{name}.com")],
            auth: Some(auth),
            allowed_namespaces: Some(proto::AllowedNamespaces {
                all: false,
                names: vec![namespace.to_owned()],
            }),
            dial: proto::Dial::Pod.into(),
            on_untrusted: proto::OnUntrusted::Relay.into(),
            policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
            ..proto::Backend::default()
        };
        resource(format!("{namespace}/{name}"), Body::Backend(body))
    };
    let credential = |name: &str, state| {
        let credential = proto::Credential { state: Some(state) };
        resource(name, Body::Credential(credential))
    };
    let by_credential = |name: &str| proto::backend::Auth::Credential(name.to_owned());
    let policy = proto::Policy {
        namespace: "shop".to_owned(),
        name: "limits".to_owned(),
        ..proto::Policy::default()
    };
    let resources = [
        resource("shop/limits", Body::Policy(policy)),
        backend("shop", "openai", by_credential("shop/openai"), &["shop/limits"]),
        credential(
            "shop/openai",
            proto::credential::State::Key("sk-secret".to_owned()),
        ),
        backend("shop", "other", by_credential("shop/other"), &[]),
        credential(
            "shop/other",
            proto::credential::State::Unresolved("Secret shop/other: there is none".to_owned()),
        ),
        backend(
            "elsewhere",
            "third",
            proto::backend::Auth::Passthrough(proto::Empty {}),
            &[],
        ),
    ];
    let (snapshot, rejections) = Snapshot::from_resources(&resources);
    assert_eq!(rejections, []);
    snapshot
}

/// What an agent knows that has been told of one pod, or of none.
struct Scene {
    wanted: Option<Workloads>,
    found: Pods,
    served: Served,
    asked: Result<proto::PodAnswer, String>,
}

impl Scene {
    fn none() -> Self {
        Self {
            wanted: Some(Workloads::new()),
            found: Pods::new(),
            served: Served::default(),
            asked: Ok(proto::PodAnswer::default()),
        }
    }

    fn wanted(treatment: Treatment) -> Self {
        Self {
            wanted: Some(BTreeMap::from([(uid(), workload(treatment))])),
            asked: Ok(here(|answer| answer.namespace_label = "enabled".to_owned())),
            ..Self::none()
        }
    }

    fn served(treatment: Treatment) -> Self {
        let mut scene = Self::wanted(treatment);
        let served = ServedPod {
            workload: workload(treatment),
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(60),
            activity: Arc::new(Activity::new(watch::channel(()).0)),
        };
        scene.served.pods.insert(uid(), served);
        scene
    }

    fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.served.pods[&uid()].activity)
    }

    fn explain(&self) -> Explanation {
        let knowledge = Knowledge {
            node: "n1",
            weir_namespace: "weir-system",
            wanted: self.wanted.as_ref(),
            found: &self.found,
            served: &self.served,
            snapshot: &snapshot(),
            excluded: &["10.96.0.0/12".parse().expect("a network")],
            has_leaf: &|host| host == "api.openai.com",
            asked: self.asked.clone(),
        };
        explain("shop", "till", &knowledge)
    }
}

fn here(change: impl FnOnce(&mut proto::PodAnswer)) -> proto::PodAnswer {
    let mut answer = proto::PodAnswer {
        is_here: true,
        uid: UID.to_owned(),
        ..proto::PodAnswer::default()
    };
    change(&mut answer);
    answer
}

#[test]
fn a_captured_pod_is_explained_whole() {
    let scene = Scene::served(Treatment::Intercepted);
    let telemetry = Telemetry::new(None).of(scene.activity());
    drop(telemetry.connection(ConnectionKind::Terminated));
    drop(telemetry.connection(ConnectionKind::Relayed));
    telemetry.settle(&crate::telemetry::tests::denied("gpt-4o"));
    telemetry.relayed_to("api.cohere.com");
    telemetry.uncovered(&workload(Treatment::Intercepted).workload, "api.cohere.com");
    scene.activity().rejected("java", "api.openai.com");
    let explanation = scene.explain();
    let text = explanation.to_string();
    let rejection = &explanation.rejections[0];
    let error = explanation.last_error.as_ref().expect("a rejection is one");
    assert_eq!(
        text,
        format!(
            "  pod             shop/till: captured
  why             the namespace is labelled weir.dev/intercept=enabled, and the pod was given Weir's root to trust
  since           1970-01-01T00:01:00Z, by this agent
  node            n1
  uid             {UID}
  service account cashier
  agent away      open: new connections go straight to where they are dialled
  left alone      connections to 10.96.0.0/12
  backend         shop/openai answers for api.openai.com; its key is put in; policies: shop/limits
  backend         shop/other answers for api.other.com; there is NO KEY to put in: Secret shop/other: there is none; \
             there is NO CERTIFICATE yet for api.other.com: the controller has sent none
  connections     1 terminated, 1 relayed, 0 refused
  exchanges       1, 1 of them failed
  relayed to      api.cohere.com (1)
  not covered     AI services that no AIBackend answers for: api.cohere.com (1)
  distrust        \"java\" does not trust Weir's certificate for api.openai.com (since {}): it has roots of its own, by its code or by a variable such as SSL_CERT_FILE. \
             Give it those in /etc/weir/trust/ca-bundle.crt
  last error      {} api.openai.com: \"java\" rejected Weir's certificate
",
            rejection.since, error.time
        )
    );
    let json = serde_json::to_string(&explanation).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Explanation>(&json).expect("itself"),
        explanation
    );
    assert!(!text.contains("sk-secret") && !json.contains("sk-secret"));
}

#[test]
fn every_state_says_why() {
    let observed = |why| Scene::served(Treatment::Observed(why));
    let mut failed = Scene::wanted(Treatment::Intercepted);
    failed.served.problems.insert(uid(), "no memory".to_owned());
    let mut empty = Scene::wanted(Treatment::Intercepted);
    empty.found.insert(uid(), Found::Empty);
    let mut in_hosts = Scene::wanted(Treatment::Intercepted);
    in_hosts.found.insert(uid(), Found::HostNetwork);
    let unwanted = |change: fn(&mut proto::PodAnswer)| Scene {
        asked: Ok(here(change)),
        ..Scene::none()
    };
    let away = |wanted| Scene {
        wanted,
        asked: Err("connection refused".to_owned()),
        ..Scene::none()
    };
    for (scene, state, why, mend) in [
        (
            observed(ObservedWhy::Label),
            State::Observed,
            "intercept=enabled",
            "",
        ),
        (
            observed(ObservedWhy::Untrusting),
            State::Untrusted,
            "before Weir's webhook",
            "kubectl delete pod -n shop till",
        ),
        (
            observed(ObservedWhy::Policy),
            State::Observed,
            "a policy",
            "kubectl describe aipolicies",
        ),
        (failed, State::Pending, "no memory", "weir doctor"),
        (
            empty,
            State::Pending,
            "no process in it yet",
            "kubectl describe pod",
        ),
        (in_hosts, State::Bypassed, "hostNetwork", "without hostNetwork"),
        (
            Scene::wanted(Treatment::Intercepted),
            State::Pending,
            "no cgroup of its uid",
            "kubectl describe pod",
        ),
        (
            Scene::none(),
            State::Elsewhere,
            "no pod shop/till on node n1",
            "-- weir explain pod shop/till",
        ),
        (
            unwanted(|_| {}),
            State::Bypassed,
            "neither the pod nor its namespace shop",
            "kubectl label namespace shop",
        ),
        (
            unwanted(|answer| answer.namespace_label = "yes".to_owned()),
            State::Bypassed,
            "weir.dev/intercept=yes is none of",
            "kubectl label namespace shop",
        ),
        (
            unwanted(|answer| answer.host_network = true),
            State::Bypassed,
            "hostNetwork",
            "without hostNetwork",
        ),
        (
            unwanted(|answer| answer.of_weir = true),
            State::Bypassed,
            "Weir's own namespace",
            "",
        ),
        (
            unwanted(|answer| answer.is_exempt = true),
            State::Bypassed,
            "webhook.excludedNamespaces names its namespace shop",
            "helm upgrade",
        ),
        (
            unwanted(|answer| {
                answer.is_mirror = true;
                answer.pod_label = "enabled".to_owned();
            }),
            State::Bypassed,
            "static pod",
            "DaemonSet",
        ),
        (
            unwanted(|answer| answer.is_over = true),
            State::Bypassed,
            "has ended",
            "",
        ),
        (
            unwanted(|answer| {
                answer.pod_label = "disabled".to_owned();
                answer.namespace_label = "enabled".to_owned();
            }),
            State::Bypassed,
            "the pod is labelled weir.dev/intercept=disabled",
            "pod's template",
        ),
        (
            unwanted(|answer| answer.namespace_label = "observe".to_owned()),
            State::Pending,
            "has not told this agent of it yet",
            "deploy/weir-controller",
        ),
        (
            away(Some(Workloads::new())),
            State::Unknown,
            "cannot be asked: connection refused",
            "another node",
        ),
        (
            away(None),
            State::Unknown,
            "no configuration has come",
            "component=controller",
        ),
    ] {
        let explanation = scene.explain();
        assert_eq!(explanation.state, state, "{}", explanation.why);
        assert!(explanation.why.contains(why), "{}", explanation.why);
        let said = explanation.mend.unwrap_or_default();
        assert!(
            said.contains(mend) && said.is_empty() == mend.is_empty(),
            "{}: {said}",
            explanation.why
        );
    }
}

/// A StatefulSet's pod, and the one before it whose uid has not gone yet.
#[test]
fn of_two_pods_of_a_name_the_one_that_is_served_is_meant() {
    let mut scene = Scene::served(Treatment::Intercepted);
    let old = PodUid::parse("0f5c8f70-1b2d-4b8e-9c70-ffffffffffff").expect("a uid");
    let wanted = scene.wanted.as_mut().expect("one is");
    wanted.insert(old, workload(Treatment::Observed(ObservedWhy::Untrusting)));
    assert_eq!(scene.explain().uid.as_deref(), Some(UID));
}

#[test]
fn a_host_of_a_callers_making_cannot_move_the_cursor() {
    let scene = Scene::served(Treatment::Intercepted);
    let telemetry = Telemetry::new(None).of(scene.activity());
    telemetry.relayed_to("a\x1b[2J\nb.example");
    let text = scene.explain().to_string();
    assert!(text.contains("a?[2J?b.example (1)"), "{text}");
}
