//! Weir uninstalled while pods run and a stream is open; installed again; uninstalled from a node that has lost its agent.

use std::process::Stdio;

use weir_tests::cluster::inspection::explained;
use weir_tests::cluster::shop::{APP, is_straight, openai_backend};
use weir_tests::cluster::{Cluster, Document, Namespace, PROVIDER_KEY, Stream, WEIR_NAMESPACE, told};

use crate::{install, left, secrets};

/// Weir as it was, also where the test has failed half-way: the cluster may be a developer's.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let cluster = Cluster::shared();
        if std::thread::panicking() {
            let words = "helm uninstall weir --namespace weir-system --no-hooks --ignore-not-found";
            let _ = cluster.command("sh").args(["-c", words]).status();
        }
        cluster.install_weir();
    }
}

/// Pods that are intercepted, and the node of each.
const APPS: [(&str, &str); 3] = [("app-n1", "n1"), ("app-n2", "n2"), (CLOSED, "n1")];
/// One whose policy has it cut off while its agent is away.
const CLOSED: &str = "app-closed";
/// One that is only observed, by its own label.
const OBSERVED: &str = "app-observed";

/// A namespace with such pods, which know the provider's root, and a backend with its key.
fn shop() -> Namespace<'static> {
    let cluster = Cluster::shared();
    let shop = cluster.namespace("uninstall");
    shop.kubectl(&["label", "namespace", shop.name(), "weir.dev/intercept=enabled"]);
    let authority: String = cluster
        .provider_authority()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    shop.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: provider}}\ndata:\n  ca.crt: |\n{authority}"
    ));
    openai_backend(&shop);
    shut(&shop);
    let observed = [(OBSERVED, "n2")];
    for (pod, node) in APPS.iter().chain(&observed) {
        let intercept = if *pod == OBSERVED { "observe" } else { "enabled" };
        shop.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {pod}, labels: {{app: {pod}, weir.dev/intercept: {intercept}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: {APP}
    imagePullPolicy: Never
    command: [sh, -c, 'trap exit TERM; sleep infinity & wait']
    volumeMounts: [{{name: provider, mountPath: /provider}}]
  volumes: [{{name: provider, configMap: {{name: provider}}}}]
"
        ));
    }
    for (pod, _) in APPS.iter().chain(&observed) {
        shop.wait(&format!("pod/{pod}"), "condition=Ready");
    }
    explained("n2", &shop, OBSERVED, |answer| answer["state"] == "observed");
    explained("n1", &shop, CLOSED, |answer| answer["failure_policy"] == "closed");
    shop
}

/// Has the policy that is [`CLOSED`]'s.
fn shut(shop: &Namespace<'_>) {
    shop.apply(&format!(
        "{{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {{name: shut}}, spec: {{targetRefs: [{{kind: Workload, labels: {{app: {CLOSED}}}}}], failurePolicy: Closed}}}}"
    ));
    shop.wait("aipolicy/shut", "condition=Accepted");
}

/// Asserts that a pod works as pods do that are intercepted: without a key.
fn assert_intercepted(shop: &Namespace<'_>, pod: &str) {
    let heard = shop.exec(pod, &["python3", "openai_sync.py"]);
    assert_eq!(heard, "The mock heard: What does a weir do?\n");
    assert!(!is_straight(shop, pod));
}

fn retiring() -> String {
    let names = "--output=name";
    Cluster::shared().kubectl(&[
        "--namespace",
        WEIR_NAMESPACE,
        "get",
        "configmap",
        "weir-retiring",
        "--ignore-not-found",
        names,
    ])
}

#[test]
fn nothing_is_left_and_pods_go_on() {
    let document = Document::open("uninstall.md");
    let shop = shop();
    let _restored = Restored;
    pods_go_on_without_weir(&document, &shop);
    and_with_it_again(&shop);
    a_node_without_its_agent_is_named(&document, &shop);
    document.assert_done();
    document.run("helm uninstall weir-crds");
    install::as_the_readme_says();
    install::as_documented();
}

/// `helm test`, and whoever waited for it gave up: its namespace and its pod are left.
fn an_interrupted_test() {
    let cluster = Cluster::shared();
    let mut test = cluster.command("helm");
    test.args(["--namespace", WEIR_NAMESPACE, "test", "weir"]);
    let mut test = test.stdout(Stdio::null()).spawn().unwrap();
    let pod = [
        "wait",
        "--namespace=weir-test",
        "--for=create",
        "pod/weir-captured",
        "--timeout=60s",
    ];
    cluster.kubectl(&pod);
    test.kill().unwrap();
    test.wait().unwrap();
    assert_eq!(
        cluster.kubectl(&["get", "namespace", "weir-test", "--output=name"]),
        "namespace/weir-test\n"
    );
}

fn pods_go_on_without_weir(document: &Document, shop: &Namespace<'_>) {
    for (pod, _) in APPS {
        assert_intercepted(shop, pod);
    }
    assert!(is_straight(shop, OBSERVED));
    secrets::assert_told_by_nobody(shop, &APPS);
    an_interrupted_test();
    let objects = left::of_agents();
    let stream = Stream::open(shop, "app-n1");
    document.run("helm uninstall weir -n weir-system\n");
    for pod in APPS.map(|(pod, _)| pod).into_iter().chain([OBSERVED]) {
        assert!(is_straight(shop, pod), "{pod} is still captured");
        // Nothing of the app's listens.
        let sockets = shop.exec(pod, &["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
        assert!(!sockets.contains(" 0A "), "{pod} still has a listener: {sockets}");
    }
    stream.assert_whole();
    left::assert_nothing_on_nodes(&objects);
    left::assert_nothing_in_the_cluster(true);
    document.run("helm uninstall weir-crds");
    left::assert_nothing_in_the_cluster(false);

    // What they were given to trust is still there, and what they are with their own key works.
    let key = format!("OPENAI_API_KEY={PROVIDER_KEY}");
    let own = [
        "env",
        "SSL_CERT_FILE=/provider/ca.crt",
        &key,
        "python3",
        "openai_sync.py",
    ];
    let roots = [
        "sh",
        "-c",
        "test -s $SSL_CERT_FILE && test -s /etc/weir/trust/root.crt",
    ];
    for (pod, _) in APPS {
        shop.exec(pod, &own);
        shop.exec(pod, &roots);
    }
    // It takes the shell with it that kubectl waits for.
    let _ = shop.exec_output("app-n1", &["kill", "1"]);
    shop.wait(
        "pod/app-n1",
        "jsonpath={.status.containerStatuses[0].restartCount}=1",
    );
    shop.wait("pod/app-n1", "condition=Ready");
    shop.exec("app-n1", &own);
    shop.exec("app-n1", &roots);
}

fn and_with_it_again(shop: &Namespace<'_>) {
    Cluster::shared().install_weir();
    openai_backend(shop);
    // The kubelet puts the new root into running pods when it looks at them the next time: a change has it look now.
    shop.wait("configmap/weir-trust", "create");
    let root = shop.field("configmap", "weir-trust", "{.data.root\\.crt}");
    for pod in ["app-n1", "app-n2"] {
        shop.kubectl(&["annotate", "pod", pod, "weir.test/look=now"]);
        while shop.exec(pod, &["cat", "/etc/weir/trust/root.crt"]) != root {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        assert_intercepted(shop, pod);
    }
}

/// With Open it starts after a while, past Weir; with Closed it waits.
fn pods_start_as_their_policy_says_where_no_agent_is(shop: &Namespace<'_>) {
    let pod = |name: &str, app: &str| {
        shop.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: n2}}
  terminationGracePeriodSeconds: 1
  containers: [{{name: app, image: {APP}, imagePullPolicy: Never, command: [sleep, infinity]}}]
"
        ));
    };
    // It went with its definition.
    shut(shop);
    pod("late-closed", CLOSED);
    pod("late-open", "late-open");
    let check = |name: &str| shop.kubectl(&["logs", name, "--container=weir-capture-check"]);
    shop.wait("pod/late-open", "condition=Ready");
    let said = check("late-open");
    assert!(
        said.contains("waiting for Weir's agent") && said.contains("going on without Weir"),
        "{said}"
    );
    assert!(is_straight(shop, "late-open"));
    // It began before the other, which has waited for as long as its policy lets it.
    let said = check("late-closed");
    assert!(said.contains("waiting for Weir's agent"), "{said}");
    let state = shop.field(
        "pod",
        "late-closed",
        "{.status.initContainerStatuses[0].state.running.startedAt}",
    );
    assert!(!state.is_empty(), "{said}");
    shop.kubectl(&["delete", "pod", "late-open", "late-closed", "--wait"]);
}

fn a_node_without_its_agent_is_named(document: &Document, shop: &Namespace<'_>) {
    let cluster = Cluster::shared();
    let objects = left::of_agents();
    // From here on n2 has no agent, but what the one before has pinned for its pod.
    let mut upgrade = cluster.command("helm");
    upgrade
        .arg("upgrade")
        .arg("weir")
        .arg(xtask::cache::clone_root().join("charts/weir"))
        .args(["--namespace", WEIR_NAMESPACE, "--reuse-values", "--wait", "--set"])
        .arg("uninstall.limit=10s,webhook.captureLimit=8s,agent.nodeSelector.kubernetes\\.io/hostname=n1");
    let upgraded = upgrade.output().unwrap();
    assert!(upgraded.status.success(), "{}", told(&upgraded));
    assert_eq!(retiring(), "", "an upgrade is no uninstall");
    assert_intercepted(shop, "app-n1");
    pods_start_as_their_policy_says_where_no_agent_is(shop);
    let uid = shop.field("pod", "app-n2", "{.metadata.uid}");
    let pin = format!("/pods/{uid}/");

    let refuses = || {
        let output = document.output("helm uninstall weir -n weir-system\n");
        let text = told(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("node n2: no agent runs there"), "{text}");
        assert!(text.contains(&format!("{}/app-n2", shop.name())), "{text}");
        assert!(
            text.contains("weir agent --remove") && text.contains("--no-hooks"),
            "{text}"
        );
        assert!(!text.contains("node n1"), "{text}");
        assert!(is_straight(shop, "app-n1"), "all other nodes are done");
        assert!(left::pinned_on("n2").contains(&pin));
    };
    refuses();
    let all = cluster.kubectl(&[
        "--namespace",
        WEIR_NAMESPACE,
        "get",
        "daemonsets,deployments,jobs",
        "--output=name",
    ]);
    assert_eq!(
        all,
        "daemonset.apps/weir-agent\ndeployment.apps/weir-controller\n"
    );

    document.run("delete configmap weir-retiring");
    while is_straight(shop, "app-n1") {}
    assert_intercepted(shop, "app-n1");

    refuses();
    document.run("weir-remove");
    left::assert_nothing_on_nodes(&objects);
    assert!(is_straight(shop, "app-n2"));
    document.run("weir.dev/intercept-");
}
