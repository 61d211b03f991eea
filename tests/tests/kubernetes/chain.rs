//! What a user sees who installs Weir, labels a namespace, and writes one AIBackend with its Secret.

use weir_tests::cluster::Cluster;
use weir_tests::cluster::inspection::{explain, explained};
use weir_tests::cluster::shop::{APP, access_log, agent_on, is_straight, labelled, metrics};

const SLEEP: &str = "command: [sleep, infinity]";
const HEARD: &str = "The mock heard: What does a weir do?\n";

#[test]
fn an_unmodified_application_without_a_key_works_on_every_node() {
    let shop = labelled("chain");
    for node in ["n1", "n2"] {
        let app = format!("app-{node}");
        shop.pod(&app, node, APP, SLEEP);
        assert_eq!(shop.exec(&app, &["python3", "openai_sync.py"]), HEARD);
        assert_eq!(shop.exec(&app, &["python3", "openai_sync.py", "stream"]), HEARD);

        let agent = agent_on(node);
        let exchanges = access_log(&agent, shop.name());
        assert_eq!(exchanges.len(), 2, "{exchanges:?}");
        for (exchange, streamed) in exchanges.iter().zip([false, true]) {
            assert_eq!(exchange["k8s.pod.name"], app.as_str());
            assert_eq!(exchange["k8s.service_account.name"], "default");
            assert_eq!(exchange["weir.backend"], format!("{}/openai", shop.name()));
            assert_eq!(exchange["weir.stream"], streamed);
            assert_eq!(exchange["weir.usage"], "read");
            assert!(exchange["gen_ai.usage.output_tokens"].as_u64().unwrap() > 0);
        }
        let metrics = metrics(&agent);
        let tokens: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("weir_tokens_total{") && line.contains(shop.name()))
            .collect();
        assert!(!tokens.is_empty(), "{metrics}");
        for line in tokens {
            assert!(line.contains("k8s_service_account_name=\"default\""), "{line}");
            assert!(!line.contains(&app), "metrics know no pods: {line}");
        }
    }

    shop.wait("aibackend/openai", "condition=Programmed");
    let table = shop.kubectl(&["get", "aibackends"]);
    let (head, row) = table.split_once('\n').unwrap();
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["NAME", "PROVIDER", "HOSTS", "ACCEPTED", "PROGRAMMED", "AGE"]
    );
    assert!(
        row.starts_with("openai   openai") && row.contains("api.openai.com"),
        "{table}"
    );
    assert_eq!(
        row.split_whitespace().filter(|word| *word == "True").count(),
        2,
        "{table}"
    );
}

/// Nobody but the kubelet knows what a container is given by `envFrom`.
#[test]
fn an_application_whose_variables_come_from_elsewhere_keeps_them_and_is_given_the_rest() {
    let shop = labelled("elsewhere");
    shop.kubectl(&["create", "configmap", "settings", "--from-literal=GREETING=hello"]);
    let own = [
        "--from-literal=OPENAI_API_KEY=sk-own",
        "--from-literal=SSL_CERT_FILE=/own.pem",
    ];
    shop.kubectl(&[&["create", "secret", "generic", "own"][..], &own].concat());
    let has_placeholder = "--for=jsonpath={.data.OPENAI_API_KEY}";
    shop.kubectl(&[
        "wait",
        "--for=create",
        "configmap/weir-environment",
        "--timeout=60s",
    ]);
    shop.kubectl(&[
        "wait",
        has_placeholder,
        "configmap/weir-environment",
        "--timeout=60s",
    ]);
    let variables = |pod: &str| {
        shop.exec(pod, &["env"])
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };

    let settings = "envFrom: [{configMapRef: {name: settings}}]";
    shop.pod("plain", "n1", APP, &format!("{SLEEP}, {settings}"));
    assert!(variables("plain").contains(&"GREETING=hello".to_owned()));
    assert_eq!(shop.exec("plain", &["python3", "openai_sync.py"]), HEARD);

    let own = "envFrom: [{secretRef: {name: own}}]";
    shop.pod("own", "n1", APP, &format!("{SLEEP}, {own}"));
    let seen = variables("own");
    for kept in ["OPENAI_API_KEY=sk-own", "SSL_CERT_FILE=/own.pem"] {
        assert!(seen.contains(&kept.to_owned()), "{seen:?}");
    }
    let given = "REQUESTS_CA_BUNDLE=/etc/weir/trust/ca-bundle.crt".to_owned();
    assert!(seen.contains(&given), "{seen:?}");
}

#[test]
fn a_namespace_without_the_label_and_one_that_may_not_use_the_backend_are_left_alone() {
    let owner = labelled("owner");
    // On the same node, so that its agent has the backend and the key: it is the agent that has to keep the two apart.
    owner.pod("app", "n1", APP, SLEEP);
    assert_eq!(owner.exec("app", &["python3", "openai_sync.py"]), HEARD);
    let other = Cluster::shared().namespace("other");
    other.pod("app", "n1", APP, SLEEP);
    // Its connection goes to the provider itself, whose certificate it does not trust.
    let output = other.exec_output(
        "app",
        &["env", "OPENAI_API_KEY=none", "python3", "openai_sync.py"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CERTIFICATE_VERIFY_FAILED"), "{said}");

    other.kubectl(&["label", "namespace", other.name(), "weir.dev/intercept=enabled"]);
    other.pod("late", "n1", APP, SLEEP);
    // Captured, but no backend answers for the host there: relayed.
    let output = other.exec_output(
        "late",
        &["env", "OPENAI_API_KEY=none", "python3", "openai_sync.py"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CERTIFICATE_VERIFY_FAILED"), "{said}");
    let seen = explain("n1", &other, "late");
    assert_eq!(seen["state"], "captured", "{seen:#}");
    assert_eq!(seen["relayed_hosts"][0]["host"], "api.openai.com", "{seen:#}");
    assert!(access_log(&agent_on("n1"), other.name()).is_empty());
    assert_eq!(owner.exec("app", &["python3", "openai_sync.py"]), HEARD);
}

#[test]
fn a_label_lets_running_pods_go_and_takes_them_back() {
    let shop = labelled("let-go");
    shop.pod("app", "n1", APP, SLEEP);
    assert_eq!(shop.exec("app", &["python3", "openai_sync.py"]), HEARD);
    let is_let_go = || {
        explained("n1", &shop, "app", |answer| answer["state"] == "bypassed");
        assert!(is_straight(&shop, "app"));
    };
    shop.kubectl(&["label", "pod", "app", "weir.dev/intercept=disabled"]);
    is_let_go();
    shop.kubectl(&["label", "pod", "app", "weir.dev/intercept-"]);
    explained("n1", &shop, "app", |answer| answer["state"] == "captured");
    assert_eq!(shop.exec("app", &["python3", "openai_sync.py"]), HEARD);
    shop.kubectl(&["label", "namespace", shop.name(), "weir.dev/intercept-"]);
    is_let_go();
}

#[test]
fn a_policy_binds_running_pods_by_their_labels() {
    let shop = labelled("policy");
    shop.pod("bound", "n1", APP, SLEEP);
    shop.pod("free", "n1", APP, SLEEP);
    shop.kubectl(&["label", "pod", "bound", "tier=trial"]);
    assert_eq!(shop.exec("bound", &["python3", "openai_sync.py"]), HEARD);
    shop.apply(
        "apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: trial}
spec:
  targetRefs: [{kind: Workload, labels: {tier: trial}}]
  models: {allowed: ['o3*']}
",
    );
    shop.wait("aipolicy/trial", "condition=Programmed");
    let output = shop.exec_output("bound", &["python3", "openai_sync.py"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("PermissionDeniedError") && said.contains(&format!("AIPolicy {}/trial", shop.name())),
        "{said}"
    );
    assert_eq!(shop.exec("free", &["python3", "openai_sync.py"]), HEARD);
    let exchanges = access_log(&agent_on("n1"), shop.name());
    let denied: Vec<_> = exchanges
        .iter()
        .filter(|line| line["weir.error.code"] == "weir_model_denied")
        .collect();
    assert_eq!(denied.len(), 1, "a denial is not tried again: {exchanges:?}");
    assert_eq!(denied[0]["k8s.pod.name"], "bound");

    shop.kubectl(&["delete", "aipolicy", "trial"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !shop
        .exec_output("bound", &["python3", "openai_sync.py"])
        .status
        .success()
    {
        assert!(std::time::Instant::now() < deadline, "the policy still binds");
    }
}

#[test]
fn the_api_server_is_called_past_weir() {
    let shop = labelled("api");
    shop.pod("app", "n1", APP, SLEEP);
    let from = |host: &str| {
        let program = format!(
            "import os, socket; host = {host}; print(socket.create_connection((host, 443)).getsockname()[0])"
        );
        shop.exec("app", &["python3", "-c", &program]).trim().to_owned()
    };
    assert_eq!(
        from("os.environ['KUBERNETES_SERVICE_HOST']"),
        shop.field("pod", "app", "{.status.podIP}")
    );
    // As a captured connection looks from within.
    assert_eq!(from("'api.openai.com'"), "127.0.0.1");
}
