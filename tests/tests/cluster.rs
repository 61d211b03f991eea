//! The ground that the Kubernetes tests stand on: the cluster itself, where Weir has no part in it.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir_tests::cluster::{Cluster, Namespace, PROVIDER_KEY, WEIR_IMAGE};

const BUSYBOX: &str = "weir.test/busybox:1";
const APP: &str = "weir.test/app-python:1";
const SLEEP: &str = "command: [sleep, infinity]";
/// What Weir's image may weigh here, of programs that are built as tests are. What a release may: `kubernetes_failure/release.rs`.
const BUDGET: u64 = 60 << 20;

/// A web server that says its own name, and a service of the same name.
fn web(namespace: &Namespace<'_>, node: &str) {
    let script = "mkdir /www; hostname > /www/name; echo started; exec httpd -f -p 8080 -h /www";
    namespace.pod(
        "web",
        node,
        BUSYBOX,
        &format!("command: [sh, -c, '{script}'], readinessProbe: {{httpGet: {{path: /name, port: 8080}}, periodSeconds: 1}}"),
    );
    namespace.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}",
    );
}

#[test]
fn two_nodes_are_ready_and_know_their_pods_addresses() {
    let cluster = Cluster::shared();
    let path = "{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
    let nodes = cluster.kubectl(&["get", "nodes", "--output", &format!("jsonpath={path}")]);
    assert_eq!(nodes, "n1 10.244.1.0/24 True\nn2 10.244.2.0/24 True\n");
}

#[test]
fn pods_reach_services_across_nodes_and_can_be_heard_and_entered() {
    let namespace = Cluster::shared().namespace("across");
    web(&namespace, "n1");
    namespace.pod("client", "n2", BUSYBOX, SLEEP);
    assert_eq!(
        namespace.exec("client", &["wget", "-qO-", "http://web/name"]),
        "web\n"
    );
    assert_eq!(namespace.logs("web"), "started\n");
    let refused = namespace.exec_output("client", &["false"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_api_server_reaches_pods_as_it_must_for_webhooks() {
    let namespace = Cluster::shared().namespace("webhooks");
    web(&namespace, "n2");
    let path = format!(
        "/api/v1/namespaces/{}/services/web:80/proxy/name",
        namespace.name()
    );
    assert_eq!(namespace.kubectl(&["get", "--raw", &path]), "web\n");
}

#[test]
fn providers_names_lead_to_the_mock_which_no_pod_trusts_by_itself() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("providers");
    let (map, authority) = ("mock-ca", cluster.provider_authority());
    let indented: String = authority.lines().map(|line| format!("    {line}\n")).collect();
    namespace.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {map}}}\ndata:\n  ca.crt: |\n{indented}"
    ));
    namespace.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: app, labels: {{app: app}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: {APP}
    imagePullPolicy: Never
    {SLEEP}
    env: [{{name: OPENAI_API_KEY, value: {PROVIDER_KEY}}}]
    volumeMounts: [{{name: ca, mountPath: /ca}}]
  volumes: [{{name: ca, configMap: {{name: {map}}}}}]
"
    ));
    namespace.wait("pod/app", "condition=Ready");
    let refused = namespace.exec_output("app", &["python3", "openai_sync.py"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("CERTIFICATE_VERIFY_FAILED"),
        "{said}"
    );
    let told = ["env", "SSL_CERT_FILE=/ca/ca.crt", "python3", "openai_sync.py"];
    assert_eq!(
        namespace.exec("app", &told),
        "The mock heard: What does a weir do?\n"
    );
    let models = [
        "curl",
        "-sS",
        "--cacert",
        "/ca/ca.crt",
        "https://api.anthropic.com/hello",
    ];
    assert!(namespace.exec("app", &models).contains("The mock provider"));
    let unknown = namespace.exec_output("app", &["curl", "-sS", "https://example.com/"]);
    assert_eq!(unknown.status.code(), Some(6), "curl(1): could not resolve host");
}

#[test]
fn a_pod_has_its_cgroup_in_version_2_and_the_node_has_a_bpffs() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("cgroups");
    namespace.pod("client", "n2", BUSYBOX, SLEEP);
    let uid = namespace.field("pod", "client", "{.metadata.uid}");
    let group = format!("/sys/fs/cgroup/unified/kubepods/besteffort/pod{uid}");
    let script = format!("cat {group}/*/cgroup.procs");
    let processes = cluster.on_node("n2", &["sh", "-c", &script]);
    let commands: Vec<String> = processes
        .lines()
        .map(|process| cluster.on_node("n2", &["cat", &format!("/proc/{process}/comm")]))
        .collect();
    assert!(commands.contains(&"sleep\n".to_owned()), "{commands:?}");
    let mounts = cluster.on_node("n2", &["cat", "/proc/mounts"]);
    assert!(
        mounts
            .lines()
            .any(|line| line.starts_with("bpf /sys/fs/bpf bpf ")),
        "{mounts}"
    );
}

#[test]
fn weirs_image_runs_as_nobody_and_has_no_shell() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("image");
    namespace.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: weir, labels: {{app: weir}}}}
spec:
  restartPolicy: Never
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: weir
    image: {WEIR_IMAGE}
    imagePullPolicy: Never
    args: [--version]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    ));
    namespace.wait("pod/weir", "jsonpath={.status.phase}=Succeeded");
    let version = WEIR_IMAGE.rsplit(':').next().unwrap();
    assert_eq!(namespace.logs("weir"), format!("weir {version}\n"));
    let archive = cluster.paths().folder().join("images/weir.tar");
    let size = fs::metadata(&archive).unwrap().len();
    assert!(size <= BUDGET, "{size} bytes are over the budget of {BUDGET}");
    let files = tempfile::tempdir().unwrap();
    let unpack = |archive: &Path| {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(files.path()).arg("-xf").arg(archive);
        assert!(tar.status().unwrap().success());
    };
    unpack(&archive);
    let blobs = fs::read_dir(files.path().join("blobs/sha256")).unwrap();
    let layer = blobs.max_by_key(|blob| blob.as_ref().unwrap().metadata().unwrap().len());
    unpack(&layer.unwrap().unwrap().path());
    assert_eq!(
        names(&files.path().join("usr/local/bin")),
        ["weir", "weir-controller"]
    );
    for empty in ["bin", "usr/bin", "sbin", "usr/sbin", "var"] {
        assert!(!files.path().join(empty).exists(), "{empty}");
    }
    assert_eq!(
        names(&files.path().join("etc")),
        ["group", "nsswitch.conf", "passwd", "ssl"]
    );
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Folders of that name below the machine's cgroup hierarchies.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_to_string("/proc/mounts").unwrap();
    hierarchies
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (target, kind) = (fields.next()?, fields.next()?);
            kind.starts_with("cgroup")
                .then(|| Path::new(target).join("weir-cluster").join(name))
        })
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn a_cluster_that_was_killed_by_half_goes_without_a_trace() {
    let name = "test-killed";
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let cluster = Cluster::up(name, &["--bare", "--nodes", "1"]);
    let groups = cgroups(name);
    assert!(!groups.is_empty());
    let process = cluster.paths().process("n1").unwrap();
    // The node's first process, and with it all others of the node: shims, kubelet, pods.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(process.try_into().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let folder = cluster.paths().folder();
    cluster.down();
    assert_eq!(cgroups(name), Vec::<PathBuf>::new());
    assert!(!folder.exists());
    let after = fs::read_to_string("/proc/self/mounts").unwrap();
    assert_eq!(after.replace(name, ""), mounts.replace(name, ""));
}
