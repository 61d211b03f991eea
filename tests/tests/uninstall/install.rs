//! Weir installed as `docs/install.md` says, in a cluster that has none.

use serde_json::json;
use weir_tests::cluster::{Cluster, Document, Namespace, WEIR_NAMESPACE, shell, told};

use crate::secrets;

/// What the page's reader has: a namespace `shop` with a deployment `app`, which needs a key and has none.
const APP: &str = include_str!("../../cluster/app.yaml");

/// The provider is the mock, whose root is no public one: the one difference to a reader's cluster.
const TRUSTING: &str = " --set agent.upstreamCA.configMap=provider-ca --wait";

/// What that value names.
fn provider_authority() {
    let cluster = Cluster::shared();
    let authority = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "provider-ca"},
        "data": {"ca.crt": cluster.provider_authority()},
    });
    Namespace::existing(cluster, WEIR_NAMESPACE).apply(&authority.to_string());
}

/// The README's three lines; and leaves nothing of it.
pub(crate) fn as_the_readme_says() {
    let readme = std::fs::read_to_string(xtask::cache::clone_root().join("README.md")).unwrap();
    let lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let lines: Vec<&str> = lines
        .filter(|line| line.starts_with("helm ") || line.starts_with("kubectl "))
        .collect();
    let [crds, weir, label] = lines[..] else {
        panic!("{lines:?}");
    };
    let run = |line: &str| {
        let output = shell(line);
        assert!(output.status.success(), "{line}: {}", told(&output));
    };
    run(crds);
    provider_authority();
    run(&format!("{weir}{TRUSTING}"));
    run(label);
    run("helm uninstall weir -n weir-system");
    run("helm uninstall weir-crds -n weir-system");
    run("kubectl delete namespace weir-system");
    run("kubectl label namespace shop weir.dev/intercept-");
}

/// Leaves Weir installed, and nothing else of the page's.
pub(crate) fn as_documented() {
    let cluster = Cluster::shared();
    let page = Document::open("install.md").with("helm install weir charts/weir -n weir-system", TRUSTING);
    let shop = Namespace::existing(cluster, "shop");
    shop.kubectl(&["label", "namespace", "shop", "weir.dev/intercept-"]);
    // The one that is there was given what makes it trust Weir.
    delete_app(&shop);
    shop.apply(APP);
    shop.wait("deployment/app", "condition=Available");
    let ask = ["exec", "deployment/app", "--", "python3", "openai_sync.py"];
    let alone = shop.kubectl_output(&ask);
    assert!(
        !alone.status.success() && told(&alone).contains("api_key"),
        "{}",
        told(&alone)
    );

    page.run("kubectl create namespace weir-system");
    provider_authority();
    page.run("helm install weir charts/weir");
    let table = page.run("kubectl get aibackends");
    assert!(table.contains("api.openai.com"), "{table}");
    page.run("weir.dev/intercept=enabled");
    // What the test says helm writes to standard error.
    let seen = page.output("helm -n weir-system test weir");
    assert!(seen.status.success(), "{}", told(&seen));
    let seen = told(&seen).replace("\\\"", "\"");
    assert!(
        seen.contains("The mock heard") && seen.contains("\"gen_ai.request.model\":\"gpt-4o-mini\""),
        "{seen}"
    );
    let proven = "api.openai.com: opened with a certificate of Weir's, and answered by the provider with the key of AIBackend weir-system/openai (200)";
    assert!(
        seen.contains("captured as weir-test/weir-captured") && seen.contains(proven),
        "{seen}"
    );
    page.run("kind: AIPolicy");
    page.run("helm upgrade weir");
    page.assert_done();
    shop.kubectl(&ask);
    shop.kubectl(&["delete", "aipolicy", "small-models"]);
    // The page has Weir log all that it logs to who debugs.
    secrets::assert_told_by_nobody(&shop, &[]);

    forget(&shop);
    as_noted(&shop);
    forget(&shop);
    delete_app(&shop);
}

fn delete_app(shop: &Namespace<'_>) {
    shop.kubectl(&[
        "delete",
        "deployment",
        "app",
        "--ignore-not-found",
        "--cascade=foreground",
    ]);
}

/// As the page found it.
fn forget(shop: &Namespace<'_>) {
    let own = format!("--namespace={WEIR_NAMESPACE}");
    Cluster::shared().kubectl(&["delete", "aibackend/openai", "secret/openai", &own]);
    shop.kubectl(&["label", "namespace", "shop", "weir.dev/intercept-"]);
}

/// What helm says after the installation, typed as it stands there: every paragraph that is no prose. In one shell, which would take what follows
/// for a part of a here-document that does not end.
fn as_noted(shop: &Namespace<'_>) {
    let notes = shell("helm get notes weir -n weir-system");
    assert!(notes.status.success(), "{}", told(&notes));
    let notes = String::from_utf8(notes.stdout).unwrap();
    let paragraphs: Vec<&str> = notes.split("\n\n").map(str::trim_end).collect();
    let commands = paragraphs
        .iter()
        .filter(|text| text.starts_with("kubectl "))
        .copied();
    let script = commands
        .collect::<Vec<_>>()
        .join("\n")
        .replace("NAMESPACE", shop.name());
    assert_eq!(script.matches("\nEOF\n").count(), 1, "{script}");
    let output = shell(&script);
    let said = told(&output);
    assert!(
        output.status.success() && said.contains("api.openai.com"),
        "{script}\n{said}"
    );
    assert!(said.contains("Phase:          Succeeded"), "{said}");
    shop.kubectl(&["rollout", "status", "deployment/app", "--timeout=120s"]);
    shop.kubectl(&["exec", "deployment/app", "--", "python3", "openai_sync.py"]);
}
