//! What a real API server says to Weir's objects: the schemas of charts/weir-crds are taken, and each of their rules refuses with words that help.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use weir_tests::cluster::{Cluster, Namespace};

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: weir.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

const BACKEND: &str = "provider: {openai: {}}, auth: {passthrough: {}}";
const WORKLOADS: &str = "targetRefs: [{kind: Workload}]";

/// What has to be taken.
const GOOD: [(&str, &str); 7] = [
    ("AIBackend", "{BACKEND}"),
    (
        "AIBackend",
        "{provider: {groq: {}}, auth: {secretRef: {name: key}}, hosts: [a.example, localhost, 1.2.example], allowedNamespaces: {from: All}, dial: Node, onUntrusted: Refuse}",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: 'fd00::1', port: 80, pathPrefix: /a/b, tls: {mode: Plaintext}}}",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, tls: {serverName: b.example, caCertificateRefs: [{kind: ConfigMap, name: ca}]}}}",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, models: {allowed: ['gpt-4o*', 'ft:gpt-4o:org/x']}}",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: AIBackend, name: a, namespace: b}, {kind: Workload, serviceAccount: c, labels: {d: e}}], operations: {denied: [embeddings]}, failurePolicy: Closed}",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, timeouts: {connect: 5s, firstByte: 1m30s, idle: 500ms}, headers: {set: [{name: OpenAI-Organization, value: two words}], remove: [x-b]}, failurePolicy: Open}",
    ),
];

/// What has to be refused, and what has to be said.
const BAD: &[(&str, &str, &str)] = &[
    (
        "AIBackend",
        "{provider: {openai: {}, groq: {}}, auth: {passthrough: {}}}",
        "spec.provider: Invalid value: a backend has exactly one provider, such as `openai: {}`",
    ),
    (
        "AIBackend",
        "{provider: {}, auth: {passthrough: {}}}",
        "spec.provider: Invalid value: a backend has exactly one provider, such as `openai: {}`",
    ),
    (
        "AIBackend",
        "{provider: {openai: {}}}",
        "spec.auth: Required value",
    ),
    (
        "AIBackend",
        "{provider: {openai: {}}, auth: {}}",
        "spec.auth: Invalid value: exactly one key goes upstream: write `secretRef: {name: …}` for one of yours, or `passthrough: {}` for the caller's own",
    ),
    (
        "AIBackend",
        "{provider: {openai: {}}, auth: {passthrough: {}, secretRef: {name: a}}}",
        "spec.auth: Invalid value: exactly one key goes upstream",
    ),
    (
        "AIBackend",
        "{provider: {openai: {}}, auth: {secretRef: {name: ../other/key}}}",
        "spec.auth.secretRef.name: Invalid value: \"../other/key\": not the name of an object",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, tls: {caCertificateRefs: [{kind: ConfigMap, name: our ca}]}}}",
        "spec.endpoint.tls.caCertificateRefs[0].name: Invalid value: \"our ca\": not the name of an object",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: [a.example, Api.OpenAI.com]}",
        "spec.hosts[1]: Invalid value: \"Api.OpenAI.com\": not the name of a host: write a DNS name in lower case, without scheme, port, path or wildcard",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: ['https://api.openai.com']}",
        "spec.hosts[0]: Invalid value: \"https://api.openai.com\": not the name of a host",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: ['*.example']}",
        "not the name of a host",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: [192.0.2.1]}",
        "not the name of a host",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: ['a.example:443']}",
        "not the name of a host",
    ),
    (
        "AIBackend",
        "{BACKEND, hosts: [a.example, a.example]}",
        "spec.hosts: Invalid value: a host stands in the list twice",
    ),
    (
        "AIBackend",
        "{BACKEND, hots: [a.example]}",
        "unknown field \"spec.hots\"",
    ),
    (
        "AIBackend",
        "{BACKEND, dial: pod}",
        "spec.dial: Unsupported value: \"pod\": supported values: \"Pod\", \"Node\"",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: 'https://a.example'}}",
        "spec.endpoint.host: Invalid value: \"https://a.example\": must be a DNS name in lower case or an IP address, without scheme, port or path",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, port: 65536}}",
        "spec.endpoint.port: Invalid value: 65536",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, pathPrefix: a}}",
        "spec.endpoint.pathPrefix: Invalid value: \"a\": must be a path that begins with `/`: no query, no fragment, no spaces",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, tls: {mode: Insecure}}}",
        "spec.endpoint.tls.mode: Unsupported value: \"Insecure\": supported values: \"Verify\", \"Plaintext\"",
    ),
    (
        "AIBackend",
        "{BACKEND, endpoint: {host: a.example, tls: {mode: Plaintext, caCertificateRefs: [{kind: ConfigMap, name: a}]}}}",
        "spec.endpoint.tls: Invalid value: serverName and caCertificateRefs have no meaning with `mode: Plaintext`: leave them out, or write `mode: Verify`",
    ),
    (
        "AIPolicy",
        "{WORKLOADS}",
        "spec: Invalid value: a policy says something: write models, operations, headers, timeouts or failurePolicy",
    ),
    (
        "AIPolicy",
        "{targetRefs: [], models: {allowed: [a]}}",
        "spec.targetRefs: Invalid value: 0: spec.targetRefs in body should have at least 1 items",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: AIBackend}], models: {allowed: [a]}}",
        "spec.targetRefs[0]: Invalid value: say which backend: `{kind: AIBackend, name: …}`",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: AIBackend, name: a, labels: {a: b}}], models: {allowed: [a]}}",
        "spec.targetRefs[0]: Invalid value: serviceAccount and labels select workloads: leave them out, or write `kind: Workload`",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: Workload, name: a}], models: {allowed: [a]}}",
        "spec.targetRefs[0]: Invalid value: workloads have no name: select them by serviceAccount or labels, or write `kind: AIBackend`",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: Pod}], models: {allowed: [a]}}",
        "spec.targetRefs[0].kind: Unsupported value: \"Pod\": supported values: \"AIBackend\", \"Workload\"",
    ),
    (
        "AIPolicy",
        "{targetRefs: [{kind: AIBackend, name: a}], failurePolicy: Closed}",
        "spec: Invalid value: failurePolicy is about the capture of workloads: target some of the policy's own namespace, such as `{kind: Workload}`",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, models: {}}",
        "spec.models: Invalid value: say what is allowed or denied, or leave the field out",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, models: {denied: [a, 'gpt 4o']}}",
        "spec.models.denied[1]: Invalid value: \"gpt 4o\": not a model's name or a pattern of one: visible ASCII without spaces, `*` for any letters",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, operations: {allowed: []}}",
        "spec.operations: Invalid value: say what is allowed or denied, or leave the field out",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, operations: {allowed: [chatt]}}",
        "spec.operations.allowed[0]: Unsupported value: \"chatt\": supported values: \"chat\", \"text_completion\", \"embeddings\"",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {}}",
        "spec.headers: Invalid value: say which headers to set or to remove, or leave the field out",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {set: [{name: Authorization, value: a}]}}",
        "spec.headers.set[0].name: Invalid value: \"Authorization\": this header is Weir's to write, or the connection's: it carries the host, a credential, or how the body is sent",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {remove: [Host]}}",
        "spec.headers.remove[0]: Invalid value: \"Host\": this header is Weir's to write",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {set: [{name: a b, value: a}]}}",
        "spec.headers.set[0].name: Invalid value: \"a b\": must be the name of an HTTP header: letters, digits and `-`",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {set: [{name: x-a, value: ' a'}]}}",
        "spec.headers.set[0].value: Invalid value: \" a\": must be visible ASCII, without spaces at its ends",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {set: [{name: x-a, value: a}, {name: X-A, value: b}]}}",
        "spec.headers: Invalid value: a header is set twice",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, headers: {set: [{name: x-a, value: a}], remove: [X-A]}}",
        "spec.headers: Invalid value: a header is both set and removed",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, timeouts: {}}",
        "spec.timeouts: Invalid value: write connect, firstByte or idle, or leave the field out",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, timeouts: {connect: 10}}",
        "spec.timeouts.connect: Invalid value: \"integer\"",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, timeouts: {idle: 0s}}",
        "spec.timeouts.idle: Invalid value: \"0s\": must be a duration longer than nothing, such as 10s, 1m30s or 500ms",
    ),
    (
        "AIPolicy",
        "{WORKLOADS, timeouts: {firstByte: 1d}}",
        "spec.timeouts.firstByte: Invalid value: \"1d\": must be a duration longer than nothing",
    ),
];

fn expand(spec: &str) -> String {
    spec.replace("{BACKEND", &format!("{{{BACKEND}"))
        .replace("{WORKLOADS", &format!("{{{WORKLOADS}"))
}

fn column_names(namespace: &Namespace<'_>, kind: &str) -> Vec<String> {
    let table = namespace.kubectl(&["get", kind]);
    let names = table.lines().next().unwrap().split_whitespace();
    names.map(str::to_owned).collect()
}

#[test]
fn the_api_server_takes_what_is_right_and_says_what_is_wrong() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("crds");
    let good = GOOD.iter().enumerate();
    let good: String = good
        .map(|(index, (kind, spec))| object(kind, &format!("good-{index}"), &expand(spec)))
        .collect();
    namespace.apply(&good);
    let mut wrong = String::new();
    for (kind, spec, message) in BAD {
        let refused = namespace.apply_output(&object(kind, "bad", &expand(spec)));
        let said = String::from_utf8_lossy(&refused.stderr);
        if refused.status.success() || !said.contains(message) {
            wrong.push_str(&format!("{spec}\nexpected: {message}\nsaid: {said}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(
        column_names(&namespace, "aibackends"),
        ["NAME", "PROVIDER", "HOSTS", "ACCEPTED", "PROGRAMMED", "AGE"]
    );
    assert_eq!(
        column_names(&namespace, "aipolicies"),
        ["NAME", "TARGETS", "ACCEPTED", "PROGRAMMED", "AGE"]
    );
    // What is not written is filled in, so that whoever reads the object sees what holds.
    let defaults = namespace.field(
        "aibackends",
        "good-0",
        "{.spec.dial} {.spec.onUntrusted} {.spec.allowedNamespaces.from}",
    );
    assert_eq!(defaults, "Pod Relay Same");
}

/// `weir run -f` takes what is in a cluster, as kubectl writes it.
#[test]
fn what_kubectl_writes_is_a_configuration_file() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("written");
    let secret = namespace.kubectl(&[
        "create",
        "secret",
        "generic",
        "key",
        "--from-literal=apiKey=sk-written",
        "--dry-run=client",
        "--output=yaml",
    ]);
    namespace.apply(&secret);
    namespace.apply(&object(
        "AIBackend",
        "openai",
        "{provider: {openai: {}}, auth: {secretRef: {name: key}}}",
    ));
    // With the status that the controller writes.
    namespace.wait("aibackend/openai", "condition=Accepted");
    let backend = namespace.kubectl(&["get", "aibackend", "openai", "--output=yaml"]);
    let list = namespace.kubectl(&["get", "aibackends", "--output=yaml"]);
    let secrets = namespace.kubectl(&["get", "secrets", "--output=yaml"]);
    for texts in [
        vec![("secret.yaml", &secret), ("backend.yaml", &backend)],
        vec![("secrets.yaml", &secrets), ("backends.yaml", &list)],
    ] {
        let texts = texts.iter().map(|(name, text)| (*name, text.as_str()));
        let snapshot = weir_api::load(texts, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let backend = snapshot.backend(namespace.name(), "api.openai.com").unwrap();
        let weir_api::Auth::Key(key) = &backend.auth else {
            panic!("{:?}", backend.auth);
        };
        assert_eq!(secrecy::ExposeSecret::expose_secret(key), "sk-written");
    }
}
