use serde_json::{Value as Json, json};
use weir_ai::Provider;
use weir_api::environment::PLACEHOLDER_KEY;

use super::*;

fn injection() -> Injection {
    Injection {
        image: "weir:1".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        failure_policy: FailurePolicy::Open,
        limit: "30s".to_owned(),
        providers: vec![Provider::OpenAi],
    }
}

fn apply(pod: &Json, patch: &[Json]) -> Json {
    let patch: json_patch::Patch = serde_json::from_value(Json::Array(patch.to_vec())).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

fn injected(pod: &Json) -> Json {
    apply(pod, &new_pod(pod, &injection()))
}

fn pod(spec: Json) -> Json {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn variable<'a>(container: &'a Json, name: &str) -> Option<&'a str> {
    let mut found = list_of(container, "env")
        .iter()
        .filter(|variable| variable["name"] == name);
    let value = found
        .next()
        .map(|variable| variable["value"].as_str().unwrap_or("not a value"));
    assert_eq!(found.next(), None, "{name} is set twice");
    value
}

const BUNDLE: Option<&str> = Some("/etc/weir/trust/ca-bundle.crt");
const ROOT: Option<&str> = Some("/etc/weir/trust/root.crt");

#[test]
fn a_plain_pod_is_given_all() {
    let after = injected(&pod(json!({"containers": [{"name": "app", "image": "app:1"}]})));
    let app = &after["spec"]["containers"][0];
    for (name, value) in [
        ("SSL_CERT_FILE", BUNDLE),
        ("REQUESTS_CA_BUNDLE", BUNDLE),
        ("CURL_CA_BUNDLE", BUNDLE),
        ("AWS_CA_BUNDLE", BUNDLE),
        ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE),
        ("NODE_EXTRA_CA_CERTS", ROOT),
        ("DENO_CERT", ROOT),
        (
            "JAVA_TOOL_OPTIONS",
            Some("-Djavax.net.ssl.trustStore=/etc/weir/trust/java.jks -Djavax.net.ssl.trustStoreType=JKS"),
        ),
        ("JDK_JAVA_OPTIONS", None),
        ("OPENAI_API_KEY", Some(PLACEHOLDER_KEY)),
        ("ANTHROPIC_API_KEY", None),
    ] {
        assert_eq!(variable(app, name), value, "{name}");
    }
    assert_eq!(
        app["volumeMounts"],
        json!([{"name": "weir-trust", "mountPath": "/etc/weir/trust", "readOnly": true}])
    );
    assert_eq!(
        after["spec"]["volumes"],
        json!([{"name": "weir-trust", "configMap": {"name": "weir-trust"}}])
    );
    assert_eq!(
        after["metadata"]["annotations"],
        json!({"weir.dev/injected": "1"})
    );
    let check = &after["spec"]["initContainers"][0];
    assert_eq!(check["name"], "weir-capture-check");
    assert_eq!(check["image"], "weir:1");
    assert_eq!(check["args"], json!(["--fail", "open", "--limit", "30s"]));
    assert_eq!(check["env"], Json::Null, "it makes no TLS connection");
}

#[test]
fn what_a_pod_sets_itself_is_kept() {
    let before = pod(json!({
        "volumes": [{"name": "own", "emptyDir": {}}],
        "containers": [{
            "name": "app",
            "env": [
                {"name": "SSL_CERT_FILE", "value": "/own.pem"},
                {"name": "OPENAI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "own", "key": "key"}}},
                {"name": "EMPTY", "value": ""},
                {"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx64m"},
            ],
            "volumeMounts": [{"name": "own", "mountPath": "/own"}],
        }],
    }));
    let after = injected(&before);
    let app = &after["spec"]["containers"][0];
    assert_eq!(variable(app, "SSL_CERT_FILE"), Some("/own.pem"));
    assert_eq!(variable(app, "OPENAI_API_KEY"), Some("not a value"));
    assert_eq!(
        variable(app, "CURL_CA_BUNDLE"),
        None,
        "curl reads SSL_CERT_FILE then"
    );
    assert_eq!(
        variable(app, "REQUESTS_CA_BUNDLE"),
        BUNDLE,
        "requests does not read SSL_CERT_FILE"
    );
    assert_eq!(variable(app, "JAVA_TOOL_OPTIONS"), Some("-Xmx64m"));
    assert!(variable(app, "JDK_JAVA_OPTIONS").is_some(), "Java reads both");
    assert_eq!(app["volumeMounts"][0]["name"], "own");
    assert_eq!(app["volumeMounts"][1]["name"], "weir-trust");
    assert_eq!(after["spec"]["volumes"][0]["name"], "own");
}

/// Nobody but the kubelet knows what is in them: the container's own go before ours if they come later.
#[test]
fn variables_from_elsewhere_stand_above_ours() {
    let before = pod(json!({"containers": [{
        "name": "app",
        "envFrom": [{"secretRef": {"name": "own"}}],
        "env": [{"name": "SSL_CERT_FILE", "value": "/own.pem"}],
    }]}));
    let after = injected(&before);
    let app = &after["spec"]["containers"][0];
    assert_eq!(
        app["envFrom"],
        json!([
            {"configMapRef": {"name": "weir-environment", "optional": true}},
            {"secretRef": {"name": "own"}},
        ])
    );
    assert_eq!(app["env"], before["spec"]["containers"][0]["env"]);
    assert_eq!(app["volumeMounts"][0]["name"], "weir-trust");
}

#[test]
fn init_containers_and_sidecars_are_given_the_same_and_stay_in_order() {
    let before = pod(json!({
        "initContainers": [
            {"name": "migrate", "env": [{"name": "A", "value": "1"}]},
            {"name": "proxy", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "app"}, {"name": "helper"}],
    }));
    let after = injected(&before);
    let names: Vec<&str> = list(&after, "initContainers")
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["weir-capture-check", "migrate", "proxy"]);
    for container in list(&after, "initContainers")[1..]
        .iter()
        .chain(list(&after, "containers"))
    {
        assert_eq!(variable(container, "SSL_CERT_FILE"), BUNDLE);
        assert_eq!(container["volumeMounts"][0]["name"], "weir-trust");
    }
    assert_eq!(variable(&after["spec"]["initContainers"][1], "A"), Some("1"));
}

#[test]
fn a_second_time_changes_nothing() {
    for before in [
        pod(json!({"containers": [{"name": "app"}]})),
        pod(
            json!({"initContainers": [{"name": "a"}], "containers": [{"name": "app", "env": [], "volumeMounts": []}], "volumes": []}),
        ),
        pod(json!({"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "own"}}]}]})),
        json!({"metadata": {"annotations": {"a/b": "c"}}, "spec": {"containers": [{"name": "app"}]}}),
    ] {
        let once = injected(&before);
        assert_eq!(new_pod(&once, &injection()), Vec::<Json>::new(), "{once}");
    }
}

#[test]
fn pods_that_are_never_captured_stay_as_they_are() {
    for before in [
        pod(json!({"hostNetwork": true, "containers": [{"name": "app"}]})),
        pod(json!({"os": {"name": "windows"}, "containers": [{"name": "app"}]})),
        json!({"metadata": {"labels": {"weir.dev/intercept": "disabled"}}, "spec": {"containers": [{"name": "app"}]}}),
        json!({"metadata": {"labels": {"weir.dev/intercept": "observe"}}, "spec": {"containers": [{"name": "app"}]}}),
    ] {
        assert_eq!(new_pod(&before, &injection()), Vec::<Json>::new(), "{before}");
    }
}

#[test]
fn ephemeral_containers_are_given_what_their_pod_has() {
    let mut before = injected(&pod(json!({"containers": [{"name": "app"}]})));
    before["spec"]["ephemeralContainers"] = json!([{"name": "first"}]);
    let mut wanted = before.clone();
    wanted["spec"]["ephemeralContainers"] = json!([{"name": "first"}, {"name": "debug"}]);
    let after = apply(&wanted, &ephemeral_containers(&wanted, &before, &injection()));
    assert_eq!(
        after["spec"]["ephemeralContainers"][0],
        json!({"name": "first"}),
        "it can't be changed any more"
    );
    assert_eq!(
        variable(&after["spec"]["ephemeralContainers"][1], "SSL_CERT_FILE"),
        BUNDLE
    );

    let never = pod(json!({"containers": [{"name": "app"}], "ephemeralContainers": [{"name": "debug"}]}));
    let old = pod(json!({"containers": [{"name": "app"}]}));
    assert_eq!(
        ephemeral_containers(&never, &old, &injection()),
        Vec::<Json>::new(),
        "no volume to mount"
    );
}

#[test]
fn it_is_what_the_strictest_pod_security_standard_allows() {
    let after = injected(&pod(json!({"containers": [{"name": "app"}]})));
    let context = &after["spec"]["initContainers"][0]["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
}

#[test]
fn the_check_takes_no_more_than_the_pod_has_anyway() {
    let quantities = |device: bool| {
        let mut quantities = json!({"cpu": "2", "memory": "1Gi"});
        if device {
            quantities["nvidia.com/gpu"] = json!(1);
        }
        quantities
    };
    for (own, given) in [
        (json!({}), json!({})),
        (
            json!({"requests": {"memory": "64Mi"}, "claims": [{"name": "a"}]}),
            json!({"requests": {"memory": "64Mi"}}),
        ),
        (
            json!({"limits": quantities(true), "requests": quantities(true)}),
            json!({"limits": quantities(false), "requests": quantities(false)}),
        ),
    ] {
        let after = injected(&pod(
            json!({"containers": [{"name": "app", "resources": own}, {"name": "other"}]}),
        ));
        assert_eq!(after["spec"]["initContainers"][0]["resources"], given, "{own}");
    }
    let bare = injected(&pod(json!({"containers": [{"name": "app"}]})));
    assert_eq!(bare["spec"]["initContainers"][0]["resources"], json!({}));
}
