//! INTERIM: until weir-api has translate_each.
use base64::Engine;
use k8s_openapi::jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::json;
use std::collections::BTreeMap;
use weir_api::types::{AIBackendSpec, AIPolicySpec};
use weir_api::{Problem, Snapshot};

/// t
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}
/// t
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub accepted: Result<(), Vec<Problem>>,
    pub resolved_refs: Result<(), Vec<Problem>>,
}
/// t
pub type Outcomes = BTreeMap<ObjectName, Outcome>;
/// t
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    pub kind: ReferenceKind,
    pub name: String,
}
/// t
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    Secret,
    ConfigMap,
}
/// t
pub fn references(spec: &AIBackendSpec) -> Vec<Ref> {
    let mut all = Vec::new();
    if let Some(s) = &spec.auth.secret_ref {
        all.push(Ref {
            kind: ReferenceKind::Secret,
            name: s.name.clone(),
        });
    }
    if let Some(e) = &spec.endpoint {
        for r in &e.tls.ca_certificate_refs {
            all.push(Ref {
                kind: ReferenceKind::ConfigMap,
                name: r.name.clone(),
            });
        }
    }
    all
}
/// t
#[derive(Default)]
pub struct Objects {
    docs: Vec<(ObjectName, String)>,
}
impl Objects {
    fn add(&mut self, kind: &str, api: &str, namespace: &str, name: &str, mut rest: serde_json::Value) {
        rest["apiVersion"] = api.into();
        rest["kind"] = kind.into();
        rest["metadata"] = json!({"name": name, "namespace": namespace});
        self.docs.push((
            ObjectName {
                kind: kind.into(),
                namespace: namespace.into(),
                name: name.into(),
            },
            rest.to_string(),
        ));
    }
    /// t
    pub fn add_backend(&mut self, ns: &str, name: &str, _: Timestamp, spec: AIBackendSpec) {
        self.add("AIBackend", "weir.dev/v1alpha1", ns, name, json!({"spec": spec}));
    }
    /// t
    pub fn add_policy(&mut self, _: &str, _: &str, _: Timestamp, _: AIPolicySpec) {}
    /// t
    pub fn add_secret(&mut self, ns: &str, name: &str, data: BTreeMap<String, SecretSlice<u8>>) {
        let data: BTreeMap<_, _> = data
            .iter()
            .map(|(k, v)| {
                (
                    k.clone(),
                    base64::engine::general_purpose::STANDARD.encode(v.expose_secret()),
                )
            })
            .collect();
        self.add("Secret", "v1", ns, name, json!({"data": data}));
    }
    /// t
    pub fn add_config_map(&mut self, ns: &str, name: &str, data: BTreeMap<String, String>) {
        self.add("ConfigMap", "v1", ns, name, json!({"data": data}));
    }
}
/// t
pub struct Translation {
    pub snapshot: Snapshot,
    pub outcomes: Outcomes,
}
/// t
pub fn translate_each(objects: &Objects) -> Translation {
    let text = objects
        .docs
        .iter()
        .map(|(_, t)| t.as_str())
        .collect::<Vec<_>>()
        .join("\n---\n");
    let (snapshot, problems) = if objects.docs.is_empty() {
        (Snapshot::default(), Vec::new())
    } else {
        match weir_api::load([("api", text.as_str())], &|_| None) {
            Ok(s) => (s, Vec::new()),
            Err(p) => (Snapshot::default(), p.0),
        }
    };
    let outcomes = objects
        .docs
        .iter()
        .filter(|(n, _)| n.kind == "AIBackend")
        .map(|(n, _)| {
            (
                n.clone(),
                Outcome {
                    accepted: if problems.is_empty() {
                        Ok(())
                    } else {
                        Err(problems.clone())
                    },
                    resolved_refs: Ok(()),
                },
            )
        })
        .collect();
    Translation { snapshot, outcomes }
}
