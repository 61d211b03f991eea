//! What the webhook changes in a pod: a pure function from the pod to a JSON patch (RFC 6902).
//!
//! It works on the JSON as it came rather than on a typed pod: a field that this version does not know must not get lost, and the paths of a
//! patch are the JSON's own.

use serde_json::{Value as Json, json};
use weir_ai::Provider;
use weir_api::FailurePolicy;

use crate::environment;
use crate::names::{
    CAPTURE_CHECK, ENVIRONMENT_CONFIG_MAP, INJECTED_ANNOTATION, INTERCEPT_LABEL, TRUST_CONFIG_MAP,
    TRUST_DIRECTORY,
};

/// What pods are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// The image that `weir await-capture` is run from.
    pub image: String,
    /// Its pull policy, such as `IfNotPresent`.
    pub image_pull_policy: String,
    /// Whether a pod that is not captured starts after all.
    pub failure_policy: FailurePolicy,
    /// How long it waits for that, such as `30s`.
    pub limit: String,
    /// The providers whose key Weir puts in for the pod's namespace.
    pub providers: Vec<Provider>,
}

/// The patch for a new pod; empty where the pod is to stay as it is.
pub fn new_pod(pod: &Json, injection: &Injection) -> Vec<Json> {
    if !is_wanted(pod) {
        return Vec::new();
    }
    let mut patch = Vec::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(pod, kind).iter().enumerate() {
            if container["name"] != CAPTURE_CHECK {
                let path = format!("/spec/{kind}/{index}");
                patch_container(container, &path, injection, &mut patch);
            }
        }
    }
    let volumes = list(pod, "volumes");
    if !volumes.iter().any(|volume| volume["name"] == TRUST_CONFIG_MAP) {
        let volume = json!({"name": TRUST_CONFIG_MAP, "configMap": {"name": TRUST_CONFIG_MAP}});
        append(&pod["spec"], "/spec", "volumes", [volume], &mut patch);
    }
    let checks = list(pod, "initContainers");
    if !checks.iter().any(|container| container["name"] == CAPTURE_CHECK) {
        let check = capture_check(pod, injection);
        // First: what other init containers send should be captured too. Last in the patch, for it moves the others' indices.
        patch.push(match checks {
            [] => json!({"op": "add", "path": "/spec/initContainers", "value": [check]}),
            _ => json!({"op": "add", "path": "/spec/initContainers/0", "value": check}),
        });
    }
    if pod["metadata"]["annotations"][INJECTED_ANNOTATION] != "1" {
        patch.push(match pod["metadata"]["annotations"].is_object() {
            true => {
                json!({"op": "add", "path": format!("/metadata/annotations/{}", escaped(INJECTED_ANNOTATION)), "value": "1"})
            }
            false => json!({"op": "add", "path": "/metadata/annotations", "value": {INJECTED_ANNOTATION: "1"}}),
        });
    }
    patch
}

/// The patch for ephemeral containers that are added to a running pod: only to one that has our volume, for no other can get it any more.
pub fn ephemeral_containers(pod: &Json, old: &Json, injection: &Injection) -> Vec<Json> {
    let mut patch = Vec::new();
    let has_volume = list(pod, "volumes")
        .iter()
        .any(|volume| volume["name"] == TRUST_CONFIG_MAP);
    if !is_wanted(pod) || !has_volume {
        return patch;
    }
    let there = list(old, "ephemeralContainers");
    for (index, container) in list(pod, "ephemeralContainers").iter().enumerate() {
        // The API server refuses a change of one that is there.
        if !there.iter().any(|other| other["name"] == container["name"]) {
            let path = format!("/spec/ephemeralContainers/{index}");
            patch_container(container, &path, injection, &mut patch);
        }
    }
    patch
}

/// Not those on the node's network, which are never captured; nor Windows, which has no eBPF; nor those that say otherwise themselves.
fn is_wanted(pod: &Json) -> bool {
    let label = pod["metadata"]["labels"][INTERCEPT_LABEL].as_str();
    pod["spec"]["hostNetwork"] != true
        && pod["spec"]["os"]["name"] != "windows"
        && !matches!(label, Some("observe" | "disabled"))
}

fn patch_container(container: &Json, path: &str, injection: &Injection, patch: &mut Vec<Json>) {
    let mounts = list_of(container, "volumeMounts");
    let is_mounted = mounts.iter().any(|mount| {
        mount["mountPath"].as_str().map(|path| path.trim_end_matches('/')) == Some(TRUST_DIRECTORY)
    });
    if !is_mounted {
        let mount = json!({"name": TRUST_CONFIG_MAP, "mountPath": TRUST_DIRECTORY, "readOnly": true});
        append(container, path, "volumeMounts", [mount], patch);
    }
    let sources = list_of(container, "envFrom");
    if sources.is_empty() {
        let env = list_of(container, "env");
        let variables = environment::for_container(env, injection.providers.iter().copied());
        let variables = variables
            .into_iter()
            .map(|(name, value)| json!({"name": name, "value": value}));
        append(container, path, "env", variables, patch);
    } else if !sources.iter().any(is_ours) {
        // First: what comes later goes before it. Optional: a container that starts anew when Weir has been uninstalled does without.
        let source = json!({"configMapRef": {"name": ENVIRONMENT_CONFIG_MAP, "optional": true}});
        patch.push(json!({"op": "add", "path": format!("{path}/envFrom/0"), "value": source}));
    }
}

fn is_ours(source: &Json) -> bool {
    source["configMapRef"]["name"] == ENVIRONMENT_CONFIG_MAP
}

/// Unprivileged as the strictest of the pod security standards wants it ("restricted"), and with the resources of a container that the pod has anyway. What
/// the namespace lets through with that one it lets through with this one.
fn capture_check(pod: &Json, injection: &Injection) -> Json {
    json!({
        "name": CAPTURE_CHECK,
        "image": injection.image,
        "imagePullPolicy": injection.image_pull_policy,
        "command": ["weir", "await-capture"],
        "args": ["--fail", injection.failure_policy.name(), "--limit", injection.limit],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": 65532,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": computing(&list(pod, "containers").first().unwrap_or(&Json::Null)["resources"]),
    })
}

/// Processor and memory of a container's resources. An init container with those of another raises neither what its pod requests nor its class of quality of service,
/// and is within the bounds of every LimitRange that the other is within; devices it does not need.
fn computing(resources: &Json) -> Json {
    let mut kept = serde_json::Map::new();
    for kind in ["limits", "requests"] {
        let named = ["cpu", "memory"].into_iter().filter_map(|name| {
            let quantity = resources[kind].get(name)?;
            Some((name.to_owned(), quantity.clone()))
        });
        let quantities: serde_json::Map<String, Json> = named.collect();
        if !quantities.is_empty() {
            kept.insert(kind.to_owned(), quantities.into());
        }
    }
    kept.into()
}

fn list<'a>(pod: &'a Json, name: &str) -> &'a [Json] {
    list_of(&pod["spec"], name)
}

fn list_of<'a>(object: &'a Json, name: &str) -> &'a [Json] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Adds to the list at `path`/`name`, or makes it.
fn append(
    object: &Json,
    path: &str,
    name: &str,
    values: impl IntoIterator<Item = Json>,
    patch: &mut Vec<Json>,
) {
    let mut is_there = object[name].is_array();
    for value in values {
        patch.push(match is_there {
            true => json!({"op": "add", "path": format!("{path}/{name}/-"), "value": value}),
            false => json!({"op": "add", "path": format!("{path}/{name}"), "value": [value]}),
        });
        is_there = true;
    }
}

/// As a part of a JSON pointer (RFC 6901 §3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests;
