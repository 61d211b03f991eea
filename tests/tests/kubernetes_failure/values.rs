//! The chart's values that change what Weir does, in one upgrade: each is tried.

use weir_tests::cluster::inspection::{explain, explained};
use weir_tests::cluster::shop::{APP, labelled, openai_backend};
use weir_tests::cluster::{Cluster, Namespace};

use crate::revision::Revision;
use crate::{NODES, SLEEP, alone, weir};

const CONTROLLER: &str = "system:serviceaccount:weir-system:weir-controller";
const HEARD: &str = "The mock heard: What does a weir do?\n";

fn condition(shop: &Namespace<'_>, kind: &str) -> String {
    let path = format!("{{.status.conditions[?(@.type==\"{kind}\")].message}}");
    shop.field("aibackend", "openai", &path)
}

/// Has the namespace's backend answer for all.
fn for_all(shop: &Namespace<'_>) {
    let all = r#"{"spec": {"allowedNamespaces": {"from": "All"}}}"#;
    shop.kubectl(&["patch", "aibackend", "openai", "--type=merge", "--patch", all]);
}

/// Whether the controller may read that namespace's Secrets.
fn may_read(namespace: &Namespace<'_>) -> bool {
    let mut command = Cluster::shared().command("kubectl");
    let account = format!("--as={CONTROLLER}");
    command.args([
        "auth",
        "can-i",
        "get",
        "secrets",
        &account,
        "--namespace",
        namespace.name(),
    ]);
    let output = command.output().unwrap();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => true,
        "no" => false,
        _ => panic!("{output:?}"),
    }
}

#[test]
fn values_do_what_they_say() {
    let _alone = alone();
    // Whose Secrets may be read, whose may not, and who may share.
    let (vault, other, platform) = (labelled("vault"), labelled("other"), labelled("platform"));
    for shop in [&vault, &other, &platform] {
        assert!(may_read(shop));
    }
    // By default nobody's but Weir's own namespace's.
    for_all(&platform);
    platform.wait("aibackend/openai", "condition=Accepted=false");
    let changed = Revision::with(&format!(
        "failurePolicy: closed
capture: {{excludeCIDRs: [203.0.113.30/32]}}
controller:
  secretNamespaces: [{vault}, {platform}]
  sharingNamespaces: [{platform}]
  podAnnotations: {{example.com/reviewed: 'yes'}}
  tolerations: [{{key: example.com/infrastructure, operator: Exists}}]
agent:
  podLabels: {{example.com/team: network}}
  affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/os, operator: In, values: [linux]}}]}}]}}}}}}
webhook:
  additionalCA: {{configMap: provider-ca}}
",
        vault = vault.name(),
        platform = platform.name(),
    ));

    assert!(may_read(&vault) && may_read(&platform) && !may_read(&other));
    other.wait("aibackend/openai", "condition=ResolvedRefs=false");
    let message = condition(&other, "ResolvedRefs");
    assert!(
        message.contains("controller.secretNamespaces") && message.contains(other.name()),
        "{message}"
    );

    for_all(&vault);
    vault.wait("aibackend/openai", "condition=Accepted=false");
    platform.wait("aibackend/openai", "condition=Accepted=true");
    let message = condition(&vault, "Accepted");
    assert!(message.contains("controller.sharingNamespaces"), "{message}");
    vault.kubectl(&["delete", "aibackend", "openai"]);
    openai_backend(&vault);

    vault.pod("app", NODES[0], APP, SLEEP);
    assert_eq!(vault.exec("app", &["python3", "openai_sync.py"]), HEARD);
    assert_eq!(explain(NODES[0], &vault, "app")["failure_policy"], "closed");
    // A service of the company's own: its certificate is believed, and what is dialled at the excluded address is not seen.
    for host in ["provider.example", "other.example"] {
        let said = vault.exec("app", &["curl", "-sS", &format!("https://{host}/hello")]);
        assert!(said.contains("The mock provider"), "{said}");
    }
    let relayed = explained(NODES[0], &vault, "app", |answer| {
        answer["relayed_hosts"]
            .as_array()
            .is_some_and(|hosts| !hosts.is_empty())
    });
    let relayed = relayed["relayed_hosts"].to_string();
    assert!(
        relayed.contains("provider.example") && !relayed.contains("other.example"),
        "{relayed}"
    );

    let of_component = |component: &str, path: &str| {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        weir(&["get", "pods", &selector, &format!("--output=jsonpath={path}")])
    };
    let reviewed = of_component(
        "controller",
        "{.items[*].metadata.annotations.example\\.com/reviewed}",
    );
    assert_eq!(reviewed, "yes yes", "of both replicas");
    let tolerations = of_component("controller", "{.items[*].spec.tolerations[*].key}");
    assert!(
        tolerations.contains("example.com/infrastructure"),
        "{tolerations}"
    );
    let teams = of_component("agent", "{.items[*].metadata.labels.example\\.com/team}");
    assert!(teams.contains("network"), "{teams}");
    // Not of the pods: in theirs the DaemonSet's controller names the node in place of what is written.
    let affinity = "--output=jsonpath={.spec.template.spec.affinity}";
    let affinity = weir(&["get", "daemonset", "weir-agent", affinity]);
    assert!(affinity.contains("kubernetes.io/os"), "{affinity}");

    drop(changed);
    assert!(may_read(&other));
    other.wait("aibackend/openai", "condition=ResolvedRefs");
}
