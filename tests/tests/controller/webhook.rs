//! Pods before and after, by the real API server.

use serde_json::Value as Json;
use weir_tests::cluster::{Cluster, Namespace};

use crate::objects::backend;

/// What the API server makes of a pod, without keeping it.
fn after(namespace: &Namespace<'_>, metadata: &str, spec: &str) -> Json {
    let pod = format!("{{apiVersion: v1, kind: Pod, metadata: {{name: web, {metadata}}}, spec: {{{spec}}}}}");
    created(namespace, &pod)
}

fn created(namespace: &Namespace<'_>, pod: &str) -> Json {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pod).unwrap();
    let path = file.path().display().to_string();
    let answer = namespace.kubectl(&["create", "--dry-run=server", "--output=json", "--filename", &path]);
    serde_json::from_str(&answer).unwrap()
}

fn labelled<'a>(cluster: &'a Cluster, purpose: &str) -> Namespace<'a> {
    let namespace = cluster.namespace(purpose);
    cluster.kubectl(&[
        "label",
        "namespace",
        namespace.name(),
        "weir.dev/intercept=enabled",
    ]);
    // Its pods are given the roots from then on.
    namespace.kubectl(&["wait", "--for=create", "configmap/weir-trust", "--timeout=60s"]);
    namespace
}

fn is_injected(pod: &Json) -> bool {
    pod["metadata"]["annotations"]["weir.dev/injected"] == "1"
}

fn variable(container: &Json, name: &str) -> Option<String> {
    let variables = container["env"].as_array()?;
    let found = variables.iter().find(|variable| variable["name"] == name)?;
    found["value"].as_str().map(str::to_owned)
}

const PLAIN: &str = "containers: [{name: app, image: 'weir.test/busybox:1'}]";

#[test]
fn a_labelled_namespaces_pods_are_given_roots_and_placeholders() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "injected");
    backend(
        &shop,
        "openai",
        &format!("{}.example", shop.name()),
        "sk-injected",
    );
    shop.wait("aibackend/openai", "condition=Accepted");
    let pod = after(&shop, "", PLAIN);
    assert!(is_injected(&pod), "{pod}");
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "weir-capture-check");
    let app = &pod["spec"]["containers"][0];
    assert_eq!(
        variable(app, "SSL_CERT_FILE").as_deref(),
        Some("/etc/weir/trust/ca-bundle.crt")
    );
    assert_eq!(
        variable(app, "OPENAI_API_KEY").as_deref(),
        Some("weir-placeholder-weir-puts-the-key-in")
    );
    let bundle = shop.field("configmap", "weir-trust", "{.data.ca-bundle\\.crt}");
    let root = shop.field("configmap", "weir-trust", "{.data.root\\.crt}");
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 50);
    assert!(bundle.contains(root.trim()));
}

/// Whoever has the webhook's key can't pose as a provider to a pod, nor as the controller to an agent.
#[test]
fn the_webhooks_authority_is_its_own() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "authority");
    let path = "--output=jsonpath={.webhooks[*].clientConfig.caBundle}";
    let bundles = cluster.kubectl(&["get", "mutatingwebhookconfiguration", "weir-webhook", path]);
    let weir = Namespace::existing(cluster, "weir-system");
    let others = [
        shop.field("configmap", "weir-trust", "{.data.root\\.crt}"),
        weir.field("configmap", "weir-control-plane-ca", "{.data.ca\\.crt}"),
    ];
    assert!(others[0].trim() != others[1].trim());
    for bundle in bundles.split(' ') {
        assert!(!bundle.is_empty());
        for other in &others {
            let script = format!("printf %s '{}' | base64 -w0", other.trim());
            let encoded = cluster
                .command("sh")
                .args(["-c", &script])
                .output()
                .unwrap()
                .stdout;
            let encoded = String::from_utf8(encoded).unwrap();
            // Without the padding, which depends on what follows.
            assert!(!bundle.contains(&encoded[..encoded.len() - 8]), "{other}");
        }
    }
}

#[test]
fn what_a_pod_sets_itself_is_kept() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "kept");
    let pod = after(
        &shop,
        "",
        "initContainers: [{name: first, image: i}, {name: proxy, image: i, restartPolicy: Always}],
         containers: [{name: app, image: i, env: [{name: SSL_CERT_FILE, value: /own.pem}]}]",
    );
    let names: Vec<&Json> = pod["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| &container["name"])
        .collect();
    assert_eq!(names, ["weir-capture-check", "first", "proxy"]);
    let app = &pod["spec"]["containers"][0];
    assert_eq!(variable(app, "SSL_CERT_FILE").as_deref(), Some("/own.pem"));
    for index in [1, 2] {
        let container = &pod["spec"]["initContainers"][index];
        assert_eq!(
            variable(container, "NODE_EXTRA_CA_CERTS").as_deref(),
            Some("/etc/weir/trust/root.crt")
        );
    }
}

/// Another webhook's change has the API server ask again, and some controllers copy what they find.
#[test]
fn what_is_given_is_given_once() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "once");
    let once = after(
        &shop,
        "",
        "initContainers: [{name: first, image: i}, {name: proxy, image: i, restartPolicy: Always}],
         containers: [{name: app, image: i, env: [{name: SSL_CERT_FILE, value: /own.pem}]}]",
    );
    assert!(is_injected(&once), "{once}");
    let copy = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy", "annotations": once["metadata"]["annotations"]},
        "spec": once["spec"],
    });
    let twice = created(&shop, &copy.to_string());
    assert_eq!(twice["spec"], once["spec"]);
}

/// Pod Security's strictest standard has nothing against what is put in.
#[test]
fn a_restricted_namespace_takes_its_pods() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "restricted");
    let enforced = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", shop.name(), enforced]);
    let pod = after(
        &shop,
        "",
        "securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}},
         containers: [{name: app, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]",
    );
    assert!(is_injected(&pod), "{pod}");
}

/// What is put in is within the bounds that the pod's own containers are within, and changes nothing of how the pod is treated.
#[test]
fn a_namespace_with_limits_takes_its_pods() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "limits");
    let own = "requests: {cpu: 200m, memory: 128Mi}, limits: {cpu: 200m, memory: 128Mi}";
    let container =
        |resources: &str| format!("containers: [{{name: app, image: i, resources: {{{resources}}}}}]");
    let class = |pod: &Json| pod["status"]["qosClass"].as_str().unwrap().to_owned();
    assert_eq!(class(&after(&shop, "", &container(""))), "BestEffort");
    shop.apply(
        "{apiVersion: v1, kind: LimitRange, metadata: {name: bounds}, spec: {limits: [{type: Container, min: {memory: 64Mi, cpu: 150m}, default: {memory: 1Gi, cpu: '1'}}]}}",
    );
    for (resources, expected) in [
        (own, "Guaranteed"),
        ("requests: {cpu: 200m, memory: 128Mi}", "Burstable"),
    ] {
        let pod = after(&shop, "", &container(resources));
        assert!(is_injected(&pod), "{pod}");
        assert_eq!(class(&pod), expected, "{pod}");
    }
}

#[test]
fn whoever_is_not_to_be_captured_stays_as_it_is() {
    let cluster = Cluster::shared();
    let (shop, other) = (labelled(cluster, "left-alone"), cluster.namespace("unlabelled"));
    let host_network = format!("hostNetwork: true, {PLAIN}");
    assert!(!is_injected(&after(&shop, "", &host_network)));
    for value in ["disabled", "observe"] {
        let labels = format!("labels: {{weir.dev/intercept: {value}}}");
        assert!(!is_injected(&after(&shop, &labels, PLAIN)), "{value}");
    }
    assert!(!is_injected(&after(&other, "", PLAIN)));
    let asks_itself = after(&other, "labels: {weir.dev/intercept: enabled}", PLAIN);
    assert!(is_injected(&asks_itself), "a pod may ask for itself");
    let own = cluster.kubectl(&[
        "--namespace=weir-system",
        "run",
        "web",
        "--image=i",
        "--labels=weir.dev/intercept=enabled",
        "--dry-run=server",
        "--output=json",
    ]);
    assert!(
        !is_injected(&serde_json::from_str(&own).unwrap()),
        "Weir's own namespace"
    );
}

/// What is added to it would be a variable of every container that is given it.
#[test]
fn what_pods_are_given_is_put_right_again() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "put-right");
    shop.kubectl(&[
        "wait",
        "--for=create",
        "configmap/weir-environment",
        "--timeout=60s",
    ]);
    let data = |shop: &Namespace<'_>| shop.field("configmap", "weir-environment", "{.data}");
    let ours = data(&shop);
    let changed = r#"{"data": {"SSL_CERT_FILE": "/other.crt", "LD_PRELOAD": "/other.so"}}"#;
    shop.kubectl(&["patch", "configmap", "weir-environment", "--patch", changed]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while data(&shop) != ours {
        assert!(std::time::Instant::now() < deadline, "{}", data(&shop));
    }
}

#[test]
fn the_roots_go_with_the_label() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "unlabelled-again");
    cluster.kubectl(&["label", "namespace", shop.name(), "weir.dev/intercept-"]);
    for name in ["configmap/weir-trust", "configmap/weir-environment"] {
        shop.kubectl(&["wait", "--for=delete", name, "--timeout=60s"]);
    }
}

#[test]
fn ephemeral_containers_are_given_what_their_pod_has() {
    let cluster = Cluster::shared();
    let shop = labelled(cluster, "ephemeral");
    shop.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{{PLAIN}}}}}"
    ));
    shop.kubectl(&[
        "debug",
        "web",
        "--image=i",
        "--container=debug",
        "--profile=general",
    ]);
    let pod: Json = serde_json::from_str(&shop.kubectl(&["get", "pod", "web", "--output=json"])).unwrap();
    let debug = &pod["spec"]["ephemeralContainers"][0];
    assert_eq!(
        variable(debug, "SSL_CERT_FILE").as_deref(),
        Some("/etc/weir/trust/ca-bundle.crt")
    );
    assert_eq!(debug["volumeMounts"][0]["name"], "weir-trust", "{debug}");
}
