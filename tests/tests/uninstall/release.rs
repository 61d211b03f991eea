//! Weir uninstalled while pods run and a stream is open; installed again; uninstalled from a node that has lost its agent.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use weir_tests::cluster::shop::{APP, openai_backend};
use weir_tests::cluster::{Cluster, Document, Namespace, PROVIDER_KEY, WEIR_NAMESPACE, told};

use crate::{install, left};

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

/// A namespace with a pod on each node, which knows the provider's root, and a backend with its key.
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
    for node in ["n1", "n2"] {
        shop.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: app-{node}, labels: {{app: app-{node}}}}}
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
    for pod in ["pod/app-n1", "pod/app-n2"] {
        shop.wait(pod, "condition=Ready");
    }
    shop
}

/// Whether what a pod dials arrives at the provider itself: its certificate is the provider's own.
fn is_straight(shop: &Namespace<'_>, pod: &str) -> bool {
    // Whatever the certificate: a program that once refuses Weir's is let through afterwards.
    let output = shop.exec_output(pod, &["curl", "-skv", "https://api.openai.com/hello"]);
    let text = told(&output);
    let [straight, intercepted] =
        ["Mock provider root", "Weir intermediate"].map(|issuer| text.contains(issuer));
    assert!(output.status.success() && straight != intercepted, "{text}");
    straight
}

/// Asserts that a pod works as pods do that are intercepted: without a key.
fn assert_intercepted(shop: &Namespace<'_>, pod: &str) {
    let heard = shop.exec(pod, &["python3", "openai_sync.py"]);
    assert_eq!(heard, "The mock heard: What does a weir do?\n");
    assert!(!is_straight(shop, pod));
}

/// A stream of some ten seconds, of which the first event has come.
struct Stream {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Stream {
    fn open(shop: &Namespace<'_>, pod: &str) -> Self {
        let request =
            r#"{"model":"mock-large-600000-slow","stream":true,"messages":[{"role":"user","content":"?"}]}"#;
        let url = "https://api.openai.com/v1/chat/completions";
        let json = "content-type: application/json";
        let mut command: Command = shop.command(&["exec", pod, "--"]);
        command.args(["curl", "-sSN", "-H", json, "--data", request, url]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("data: {"), "{line}");
        Self { process, output }
    }

    /// Waits for its end, which must be a good one.
    fn assert_whole(mut self) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let status = self.process.wait().unwrap();
        let end = text.get(text.len().saturating_sub(200)..).unwrap_or_default();
        assert!(
            status.success() && end.trim_end().ends_with("data: [DONE]"),
            "{status}: {end}"
        );
    }
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
    install::as_documented();
}

fn pods_go_on_without_weir(document: &Document, shop: &Namespace<'_>) {
    let pods = ["app-n1", "app-n2"];
    for pod in pods {
        assert_intercepted(shop, pod);
    }
    let objects = left::of_agents();
    let stream = Stream::open(shop, "app-n1");
    document.run("helm uninstall weir -n weir-system\n");
    for pod in pods {
        assert!(is_straight(shop, pod), "{pod} is still captured");
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
    for pod in pods {
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
        .arg("uninstall.limit=10s,agent.nodeSelector.kubernetes\\.io/hostname=n1");
    let upgraded = upgrade.output().unwrap();
    assert!(upgraded.status.success(), "{}", told(&upgraded));
    assert_eq!(retiring(), "", "an upgrade is no uninstall");
    assert_intercepted(shop, "app-n1");
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
