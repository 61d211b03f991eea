//! The chart, as helm renders it.

use std::process::Output;

use weir_tests::cluster::Cluster;

fn rendered(set: &[&str]) -> Output {
    let chart = xtask::cache::clone_root().join("charts/weir");
    let mut command = Cluster::shared().command("helm");
    command
        .args(["template", "weir"])
        .arg(chart)
        .args(["--namespace", "weir-system"]);
    for value in set {
        command.args(["--set", value]);
    }
    command.output().unwrap()
}

#[test]
fn a_wrong_value_is_refused_with_a_message() {
    for (value, says) in [
        ("controller.replicas=0", "/controller/replicas"),
        ("failurePolicy=Open", "value must be one of 'open', 'closed'"),
        ("image.tga=1", "additional properties 'tga' not allowed"),
        ("webhook.captureLimit=soon", "/webhook/captureLimit"),
        ("uninstall.limit=soon", "/uninstall/limit"),
        ("image.digest=sha256:1", "/image/digest"),
        (
            "controller.sharingNamespaces={Shop}",
            "/controller/sharingNamespaces/0",
        ),
        ("contoller.replicas=2", "'contoller' not allowed"),
        // What its programs would refuse when they start.
        ("uninstall.limit=0s", "/uninstall/limit"),
        ("webhook.captureLimit=100000s", "/webhook/captureLimit"),
        ("capture.excludeCIDRs={10.0.0.0/99}", "/capture/excludeCIDRs/0"),
        ("capture.excludeCIDRs={10.0.0.256/8}", "/capture/excludeCIDRs/0"),
        ("capture.excludeCIDRs={fd00::/129}", "/capture/excludeCIDRs/0"),
        // What it counts on itself.
        ("commonLabels.app\\.kubernetes\\.io/name=x", "/commonLabels"),
        ("agent.podLabels.weir\\.dev/intercept=enabled", "/agent/podLabels"),
    ] {
        let output = rendered(&[value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} was taken");
        assert!(message.contains(says), "{value}: {message}");
    }
}

#[test]
fn a_right_value_is_taken() {
    for value in [
        "uninstall.limit=1m30s",
        "webhook.captureLimit=500ms",
        "capture.excludeCIDRs={10.0.0.0/8,0.0.0.0/0,fd00::/8,::/0,2001:db8::1/128,::ffff:10.0.0.0/104,1:2:3:4:5:6:7::/112}",
        "commonLabels.team=platform,commonLabels.app\\.kubernetes\\.io/part-of=platform",
        "controller.podLabels.app\\.kubernetes\\.io/owner=platform",
    ] {
        let output = rendered(&[value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{value}: {message}");
    }
}

#[test]
fn no_role_lists_secrets_and_each_rule_says_what_it_is_for() {
    for set in [[].as_slice(), &["controller.secretNamespaces={a,b}"]] {
        let output = rendered(set);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let manifest = String::from_utf8(output.stdout).unwrap();
        for document in manifest
            .split("\n---\n")
            .filter(|document| document.contains("\nrules:\n"))
        {
            let lines: Vec<&str> = document.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                if line.contains("resources:") && line.contains("secrets") {
                    let rule: String = lines[index..].iter().take(3).copied().collect();
                    let verbs = rule
                        .split("verbs:")
                        .nth(1)
                        .and_then(|rest| rest.split(']').next())
                        .unwrap();
                    assert!(!verbs.contains("list") && !verbs.contains('*'), "{rule}");
                }
                if line.starts_with("  - apiGroups:") {
                    assert!(
                        lines[index - 1].trim_start().starts_with('#'),
                        "no reason above: {line}"
                    );
                }
            }
        }
    }
}

/// A monitor finds nothing unless a Service that it selects has a port of its endpoint's name, which a container opens.
#[test]
fn monitors_scrape_agents_and_controller() {
    let documents = documents(&[
        "serviceMonitor.enabled=true",
        "serviceMonitor.labels.release=prometheus",
    ]);
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    for workload in of_kind("Deployment").chain(of_kind("DaemonSet")) {
        let name = &workload["metadata"]["name"];
        let monitor = of_kind("ServiceMonitor")
            .find(|monitor| &monitor["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{name} is not scraped"));
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        let selected = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        let endpoint = &monitor["spec"]["endpoints"][0];
        let service = of_kind("Service")
            .filter(|service| {
                let labels = service["metadata"]["labels"].as_object().unwrap();
                selected.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
            .find(|service| named(&service["spec"]["ports"], &endpoint["port"]).is_some())
            .unwrap_or_else(|| panic!("{name}: no Service has the port {endpoint}"));
        assert_eq!(
            service["spec"]["selector"],
            workload["spec"]["selector"]["matchLabels"]
        );
        let port = named(&service["spec"]["ports"], &endpoint["port"]).unwrap();
        let container = &workload["spec"]["template"]["spec"]["containers"][0];
        let opened = named(&container["ports"], &port["targetPort"]).unwrap();
        assert_eq!(port["port"], opened["containerPort"]);
    }
}

/// That of the list which has this name.
fn named<'a>(ports: &'a serde_json::Value, name: &serde_json::Value) -> Option<&'a serde_json::Value> {
    ports
        .as_array()
        .unwrap()
        .iter()
        .find(|port| &port["name"] == name)
}

fn documents(set: &[&str]) -> Vec<serde_json::Value> {
    let output = rendered(set);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest = String::from_utf8(output.stdout).unwrap();
    manifest
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

#[test]
fn additional_authorities_are_mounted_where_the_controller_looks() {
    let documents = documents(&[
        "webhook.additionalCA.configMap=our-ca",
        "webhook.additionalCA.key=roots.pem",
    ]);
    let deployment = documents
        .iter()
        .find(|document| document["kind"] == "Deployment")
        .unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let mount = &container["volumeMounts"][0];
    let option = format!(
        "--additional-roots={}/roots.pem",
        mount["mountPath"].as_str().unwrap()
    );
    assert!(
        container["args"]
            .as_array()
            .unwrap()
            .iter()
            .any(|argument| *argument == option)
    );
    assert_eq!(pod["volumes"][0]["name"], mount["name"]);
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "our-ca");
}

/// The agent is root on its node with three capabilities, each for its reason, and can ask the API server for nothing.
#[test]
fn the_agent_has_no_privilege_but_those_that_it_is_tested_with() {
    let documents = documents(&[]);
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let pod = &of_kind("DaemonSet").next().unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let capabilities: Vec<String> = context["capabilities"]["add"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let root = xtask::cache::clone_root();
    let scene = std::fs::read_to_string(root.join("agent/tests/capture/scene.rs")).unwrap();
    let tested: Vec<String> = capabilities
        .iter()
        .map(|name| format!("+{}", name.to_lowercase()))
        .collect();
    let tested = format!("CAPABILITIES: &str = \"{}\";", tested.join(","));
    assert!(
        scene.contains(&tested),
        "the tests' agent has others than {tested}"
    );
    let template = std::fs::read_to_string(root.join("charts/weir/templates/agent/daemonset.yaml")).unwrap();
    let lines: Vec<&str> = template.lines().map(str::trim).collect();
    for name in &capabilities {
        let at = lines
            .iter()
            .position(|line| *line == format!("- {name}"))
            .unwrap();
        assert!(lines[at - 1].starts_with('#'), "{name}: no reason above");
    }

    let is_agents = |subject: &serde_json::Value| subject["name"] == "weir-agent";
    for binding in of_kind("RoleBinding").chain(of_kind("ClusterRoleBinding")) {
        assert!(
            !binding["subjects"].as_array().unwrap().iter().any(is_agents),
            "{binding}"
        );
    }
    for [verb, resource] in [
        ["get", "secrets"],
        ["list", "pods"],
        ["get", "configmaps"],
        ["list", "aibackends.weir.dev"],
        ["create", "tokenreviews"],
        ["get", "nodes"],
    ] {
        let account = "--as=system:serviceaccount:weir-system:weir-agent";
        let mut command = Cluster::shared().command("kubectl");
        let asked = command.args(["auth", "can-i", verb, resource, account, "--all-namespaces"]);
        let answer = asked.output().unwrap();
        assert_eq!(answer.stdout, b"no\n", "{verb} {resource}: {answer:?}");
    }
}

/// A policy binds those who would write it.
#[test]
fn who_may_edit_a_namespace_sees_weirs_objects_and_writes_none() {
    let shop = Cluster::shared().namespace("editors");
    shop.kubectl(&[
        "create",
        "rolebinding",
        "editors",
        "--clusterrole=edit",
        "--user=ed",
    ]);
    let may = |verb: &str, resource: &str| {
        let answer = shop.kubectl_output(&["auth", "can-i", verb, resource, "--as=ed"]);
        answer.stdout == b"yes\n"
    };
    for resource in ["aibackends.weir.dev", "aipolicies.weir.dev"] {
        // The roles are put together some time after the chart's is there.
        while !may("list", resource) {}
        for verb in ["create", "patch", "delete"] {
            assert!(!may(verb, resource), "{verb} {resource}");
        }
    }
    assert!(may("create", "pods"));
}

/// What the webhook's configuration leaves out, the controller has to leave alone as well.
#[test]
fn the_controller_is_told_which_namespaces_are_left_alone() {
    let output = rendered(&["webhook.excludedNamespaces={kube-system,legacy}"]);
    let manifest = String::from_utf8(output.stdout).unwrap();
    for namespace in ["kube-system", "legacy"] {
        let argument = format!("- --excluded-namespace={namespace}\n");
        assert_eq!(manifest.matches(&argument).count(), 1, "{namespace}");
    }
}

/// Every port that a container of ours opens is let in by a policy, to somebody in particular, and no port besides.
#[test]
fn policies_name_every_port_and_who_may_reach_it() {
    let documents = documents(&["networkPolicy.apiServerFrom[0].ipBlock.cidr=10.0.0.0/24"]);
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let policies: Vec<_> = of_kind("NetworkPolicy").collect();
    for workload in of_kind("Deployment").chain(of_kind("DaemonSet")) {
        let policy = policies
            .iter()
            .find(|policy| policy["spec"]["podSelector"] == workload["spec"]["selector"])
            .unwrap_or_else(|| panic!("{} has no policy", workload["metadata"]["name"]));
        let containers = workload["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap();
        let opened = containers
            .iter()
            .flat_map(|container| container["ports"].as_array().unwrap())
            .map(|port| &port["name"]);
        let mut opened: Vec<_> = opened.collect();
        let ingress = policy["spec"]["ingress"].as_array().unwrap();
        for rule in ingress {
            assert!(!rule["from"].as_array().unwrap().is_empty(), "{rule}: to anybody");
        }
        let let_in = ingress.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
        let mut let_in: Vec<_> = let_in.map(|port| &port["port"]).collect();
        opened.sort_by_key(|name| name.to_string());
        let_in.sort_by_key(|name| name.to_string());
        assert_eq!(opened, let_in, "{}", workload["metadata"]["name"]);
    }
}
