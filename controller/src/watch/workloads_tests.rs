use super::*;

pub(crate) fn pod(name: &str, spec: &str, labels: &str, phase: &str) -> Arc<Pod> {
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"uid-{name}","labels":{labels}}},
        "spec":{spec},"status":{{"phase":"{phase}"}}}}"#
    );
    Arc::new(serde_json::from_str(&text).expect("a pod"))
}

fn no_policies(_: &Pod) -> WorkloadPolicies {
    WorkloadPolicies {
        policies: vec!["shop/policy".to_owned()],
        failure_policy: proto::FailurePolicy::Open,
    }
}

pub(crate) fn placed(pods: &[Arc<Pod>], own_namespace: &str) -> BTreeMap<String, Vec<Arc<proto::Resource>>> {
    placed_but_of(pods, &Exempt::new(own_namespace, []))
}

fn placed_but_of(pods: &[Arc<Pod>], exempt: &Exempt) -> BTreeMap<String, Vec<Arc<proto::Resource>>> {
    let namespaces = HashMap::from([("shop".to_owned(), Asked::Enabled)]);
    by_node(pods, &namespaces, exempt, no_policies)
}

#[test]
fn each_node_has_its_own_pods() {
    let pods = [
        pod(
            "b",
            r#"{"nodeName":"n1","serviceAccountName":"web"}"#,
            "{}",
            "Running",
        ),
        pod(
            "a",
            r#"{"nodeName":"n1"}"#,
            r#"{"weir.dev/intercept":"observe"}"#,
            "Pending",
        ),
        pod("c", r#"{"nodeName":"n2"}"#, "{}", "Running"),
    ];
    let nodes = placed(&pods, "weir-system");
    let uids = |node: &str| -> Vec<&str> {
        nodes[node]
            .iter()
            .map(|workload| workload.name.as_str())
            .collect()
    };
    assert_eq!(uids("n1"), ["uid-a", "uid-b"]);
    assert_eq!(uids("n2"), ["uid-c"]);
    let Some(Body::Workload(observed)) = &nodes["n1"][0].body else {
        panic!("a workload");
    };
    assert_eq!(observed.intercept(), proto::Intercept::Observe);
    let Some(Body::Workload(workload)) = &nodes["n1"][1].body else {
        panic!("a workload");
    };
    assert_eq!(
        (workload.pod.as_str(), workload.service_account.as_str()),
        ("b", "web")
    );
    assert_eq!(workload.intercept(), proto::Intercept::Enabled);
    assert!(!workload.trusts);
    assert!(
        workload.policies.is_empty(),
        "it is only observed until it restarts"
    );

    let mut restarted = (*pods[0]).clone();
    let given = (crate::names::INJECTED_ANNOTATION.to_owned(), "1".to_owned());
    restarted.metadata.annotations = Some([given].into());
    let nodes = placed(&[restarted.into()], "weir-system");
    let Some(Body::Workload(workload)) = &nodes["n1"][0].body else {
        panic!("a workload");
    };
    assert!(workload.trusts);
    assert_eq!(workload.policies, ["shop/policy"]);
}

#[test]
fn those_that_are_never_captured_are_on_no_node() {
    let pods = [
        pod("waiting", "{}", "{}", "Pending"),
        pod("host", r#"{"nodeName":"n1","hostNetwork":true}"#, "{}", "Running"),
        pod("over", r#"{"nodeName":"n1"}"#, "{}", "Succeeded"),
        pod("failed", r#"{"nodeName":"n1"}"#, "{}", "Failed"),
        pod(
            "disabled",
            r#"{"nodeName":"n1"}"#,
            r#"{"weir.dev/intercept":"disabled"}"#,
            "Running",
        ),
    ];
    assert!(placed(&pods, "weir-system").is_empty());
    let own = [pod("own", r#"{"nodeName":"n1"}"#, "{}", "Running")];
    assert!(placed(&own, "shop").is_empty(), "Weir's own namespace");
    let exempt = Exempt::new("weir-system", ["shop".to_owned()]);
    assert!(placed_but_of(&own, &exempt).is_empty(), "one that is left alone");
}

/// Whoever has taken over a node can make such a pod in any namespace, with any labels and annotations.
#[test]
fn a_pod_that_a_kubelet_has_made_is_on_no_node() {
    let forged = pod(
        "forged",
        r#"{"nodeName":"n1"}"#,
        r#"{"weir.dev/intercept":"enabled"}"#,
        "Running",
    );
    let mut forged = (*forged).clone();
    let annotations = ["weir.dev/injected", "kubernetes.io/config.mirror"];
    forged.metadata.annotations = Some(annotations.map(|name| (name.to_owned(), "1".to_owned())).into());
    assert!(placed(&[forged.into()], "weir-system").is_empty());
}
