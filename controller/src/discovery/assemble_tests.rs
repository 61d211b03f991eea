use weir_api::resource::resource;

use super::*;

fn backend(
    namespace: &str,
    name: &str,
    allowed: proto::AllowedNamespaces,
    policies: &[&str],
) -> proto::Resource {
    let resource_name = format!("{namespace}/{name}");
    let body = proto::Backend {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        provider: "openai".to_owned(),
        hosts: vec![format!("{name}.example")],
        auth: Some(Auth::Credential(resource_name.clone())),
        allowed_namespaces: Some(allowed),
        policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
        ..proto::Backend::default()
    };
    resource(resource_name, Body::Backend(body))
}

fn everyone() -> proto::AllowedNamespaces {
    proto::AllowedNamespaces {
        all: true,
        names: Vec::new(),
    }
}

fn only(namespace: &str) -> proto::AllowedNamespaces {
    proto::AllowedNamespaces {
        all: false,
        names: vec![namespace.to_owned()],
    }
}

/// With a key and a leaf for each backend, and five policies of each namespace, `shop/0` to `shop/4`.
fn configuration(backends: Vec<proto::Resource>) -> Configuration {
    let mut configuration = Configuration::default();
    let put = |resource: proto::Resource| (resource.name.clone(), Arc::new(resource));
    for backend in backends {
        let key = proto::Credential {
            state: Some(proto::credential::State::Key("sk-1".to_owned())),
        };
        let (_, name) = backend.name.split_once('/').expect("NAMESPACE/NAME");
        let leaf = resource(format!("{name}.example"), Body::Leaf(proto::Leaf::default()));
        let credential = resource(backend.name.clone(), Body::Credential(key));
        configuration.credentials.extend([put(credential)]);
        configuration.leaves.extend([put(leaf)]);
        configuration.backends.extend([put(backend)]);
    }
    for namespace in ["system", "shop", "bank"] {
        for number in 0..5 {
            let name = format!("{namespace}/{number}");
            let policy = resource(name, Body::Policy(proto::Policy::default()));
            configuration.policies.extend([put(policy)]);
        }
    }
    configuration
}

fn workload(
    namespace: &str,
    intercept: proto::Intercept,
    trusts: bool,
    policies: &[&str],
) -> Arc<proto::Resource> {
    let uid = format!("uid-of-{namespace}");
    let body = proto::Workload {
        uid: uid.clone(),
        namespace: namespace.to_owned(),
        intercept: intercept.into(),
        trusts,
        policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
        ..proto::Workload::default()
    };
    Arc::new(resource(uid, Body::Workload(body)))
}

fn names(resources: &Resources, kind: proto::Kind) -> Vec<&str> {
    let of_kind = resources.keys().filter(|key| key.kind == i32::from(kind));
    of_kind.map(|key| key.name.as_str()).collect()
}

#[test]
fn a_node_gets_what_its_pods_may_use_and_nothing_else() {
    let configuration = configuration(vec![
        // Every namespace may have a say in its own use of it.
        backend("system", "shared", everyone(), &["system/0", "bank/1", "shop/0"]),
        backend("shop", "own", only("shop"), &["shop/1", "bank/0"]),
        backend("bank", "other", only("bank"), &["bank/2"]),
    ]);
    let resources = assemble(
        &configuration,
        &[workload(
            "shop",
            proto::Intercept::Enabled,
            true,
            &["shop/3", "bank/3", "system/3"],
        )],
        Runs::This,
    );
    assert_eq!(
        names(&resources, proto::Kind::Backend),
        ["shop/own", "system/shared"]
    );
    assert_eq!(
        names(&resources, proto::Kind::Credential),
        ["shop/own", "system/shared"]
    );
    assert_eq!(
        names(&resources, proto::Kind::Leaf),
        ["own.example", "shared.example"]
    );
    assert_eq!(
        names(&resources, proto::Kind::Policy),
        ["shop/0", "shop/1", "shop/3", "system/0", "system/3"]
    );
    assert_eq!(names(&resources, proto::Kind::Workload), ["uid-of-shop"]);
    // Whoever is named is there: an agent serves nothing without a policy that is named.
    for (kind, name, policies) in [
        (
            proto::Kind::Backend,
            "system/shared",
            ["system/0", "shop/0"].as_slice(),
        ),
        (proto::Kind::Backend, "shop/own", &["shop/1"]),
        (proto::Kind::Workload, "uid-of-shop", &["shop/3", "system/3"]),
    ] {
        let resource = &resources[&Key::new(kind, name)];
        assert_eq!(policies_of(resource), policies, "{name}");
        let body = resource.body.as_ref().expect("a body");
        assert_eq!(resource.version, weir_api::resource::version_of(body), "{name}");
    }
}

/// That a node also runs pods of a namespace makes its policies no business of others'.
#[test]
fn policies_bind_what_they_can_bind() {
    let configuration = configuration(vec![
        backend("system", "shared", everyone(), &["bank/0", "shop/0"]),
        backend("shop", "own", only("shop"), &["bank/1"]),
        backend("bank", "own", only("bank"), &[]),
    ]);
    let policies = ["bank/3", "system/3"];
    let workloads =
        ["shop", "bank"].map(|namespace| workload(namespace, proto::Intercept::Enabled, true, &policies));
    let resources = assemble(&configuration, &workloads, Runs::This);
    let named = |kind, name: &str| policies_of(&resources[&Key::new(kind, name)]).join(" ");
    assert_eq!(named(proto::Kind::Workload, "uid-of-shop"), "system/3");
    assert_eq!(named(proto::Kind::Workload, "uid-of-bank"), "bank/3 system/3");
    assert_eq!(named(proto::Kind::Backend, "shop/own"), "");
    assert_eq!(named(proto::Kind::Backend, "system/shared"), "bank/0 shop/0");

    // Until this replica knows all that the node runs, whatever may bind it stays.
    let of = |runs| assemble(&configuration, &workloads[..1], runs);
    let shared = Key::new(proto::Kind::Backend, "system/shared");
    assert_eq!(policies_of(&of(Runs::This)[&shared]), ["shop/0"]);
    let held = of(Runs::AndMaybeMore);
    assert_eq!(policies_of(&held[&shared]), ["bank/0", "shop/0"]);
    assert!(names(&held, proto::Kind::Policy).contains(&"bank/0"));
}

/// Beside a backend of the namespace's own for the same hosts, the key of the one for all is of no use there.
#[test]
fn a_key_that_no_call_would_be_sent_with_stays_away() {
    let configuration = configuration(vec![
        backend("system", "openai", everyone(), &["system/0"]),
        backend("shop", "openai", only("shop"), &["shop/1"]),
    ]);
    let given = |namespaces: &[&str]| {
        let workloads = namespaces.iter();
        let workloads: Vec<_> = workloads
            .map(|namespace| workload(namespace, proto::Intercept::Enabled, true, &[]))
            .collect();
        let resources = assemble(&configuration, &workloads, Runs::This);
        let backends = names(&resources, proto::Kind::Backend);
        assert_eq!(backends, names(&resources, proto::Kind::Credential));
        assert_eq!(names(&resources, proto::Kind::Leaf), ["openai.example"]);
        backends.join(" ")
    };
    assert_eq!(given(&["shop"]), "shop/openai");
    assert_eq!(given(&["bank"]), "system/openai");
    assert_eq!(given(&["bank", "shop"]), "shop/openai system/openai");
}

#[test]
fn a_node_whose_pods_use_nothing_gets_no_key() {
    let configuration = configuration(vec![backend("system", "shared", everyone(), &["system/0"])]);
    let for_nobody = assemble(&configuration, &[], Runs::This);
    assert!(for_nobody.is_empty());
    for workload in [
        workload("shop", proto::Intercept::Observe, true, &["shop/3"]),
        workload("shop", proto::Intercept::Enabled, false, &["shop/3"]),
    ] {
        let resources = assemble(&configuration, &[workload], Runs::This);
        assert_eq!(
            resources.keys().collect::<Vec<_>>(),
            [
                &Key::new(proto::Kind::Workload, "uid-of-shop"),
                &Key::new(proto::Kind::Coverage, "shop")
            ]
        );
        // So that it can be told what no backend covers.
        let coverage = &resources[&Key::new(proto::Kind::Coverage, "shop")];
        let hosts = vec!["shared.example".to_owned()];
        assert_eq!(coverage.body, Some(Body::Coverage(proto::Coverage { hosts })));
    }
}

#[test]
fn nobody_may_use_a_backend_that_says_nothing_of_it() {
    let mut backend = backend("shop", "own", everyone(), &[]);
    if let Some(Body::Backend(body)) = &mut backend.body {
        body.allowed_namespaces = None;
    }
    let configuration = configuration(vec![backend]);
    let resources = assemble(
        &configuration,
        &[workload("shop", proto::Intercept::Enabled, true, &[])],
        Runs::This,
    );
    assert!(names(&resources, proto::Kind::Backend).is_empty());
    assert!(names(&resources, proto::Kind::Credential).is_empty());
}
