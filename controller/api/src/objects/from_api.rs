//! Objects as the API server gives them: checked against the schema there, without lines.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretSlice;

use super::{Located, Objects, Place};
use crate::names;
use crate::types::{AIBackendSpec, AIPolicySpec, CaCertificateKind};

impl Objects {
    /// Adds an AIBackend that was created at `creation`, in seconds since the epoch: of two for the same host, the older has it.
    pub fn add_backend(&mut self, namespace: &str, name: &str, creation: i64, spec: AIBackendSpec) {
        let located = located("AIBackend", namespace, name, Some(creation), spec);
        self.backends.push(located);
    }

    /// Adds an AIPolicy that was created at `creation`, in seconds since the epoch: of two that say different things, the older counts.
    pub fn add_policy(&mut self, namespace: &str, name: &str, creation: i64, spec: AIPolicySpec) {
        let located = located("AIPolicy", namespace, name, Some(creation), spec);
        self.policies.push(located);
    }

    /// Adds a Secret, its `data` decoded.
    pub fn add_secret(&mut self, namespace: &str, name: &str, data: BTreeMap<String, SecretSlice<u8>>) {
        self.secrets.push(located("Secret", namespace, name, None, data));
    }

    /// Adds a ConfigMap.
    pub fn add_config_map(&mut self, namespace: &str, name: &str, data: BTreeMap<String, String>) {
        self.config_maps
            .push(located("ConfigMap", namespace, name, None, data));
    }

    /// Adds that the Secret or ConfigMap, as `kind` says, may not be read: whether it is there is not known.
    pub fn add_forbidden(&mut self, kind: &str, namespace: &str, name: &str) {
        self.forbidden.insert(format!("{kind} {namespace}/{name}"));
    }

    /// Adds that the API server answers with an error where the Secret or ConfigMap is asked for; `why` in its words.
    pub fn add_unanswered(&mut self, kind: &str, namespace: &str, name: &str, why: String) {
        self.unanswered.insert(format!("{kind} {namespace}/{name}"), why);
    }
}

fn located<T>(
    kind: &'static str,
    namespace: &str,
    name: &str,
    creation: Option<i64>,
    value: T,
) -> Located<T> {
    Located {
        kind,
        place: Place {
            object: format!("{kind} {namespace}/{name}"),
            ..Place::default()
        },
        creation,
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        value,
    }
}

/// An object that an AIBackend refers to, in its own namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// `Secret` or `ConfigMap`.
    pub kind: &'static str,
    /// `metadata.name`.
    pub name: String,
}

/// The objects that a backend refers to, each once: what a controller has to watch, by name, besides the backend itself.
pub fn references(spec: &AIBackendSpec) -> Vec<Reference> {
    let secret = spec.auth.secret_ref.iter().map(|secret| Reference {
        kind: "Secret",
        name: secret.name.clone(),
    });
    let authorities = spec
        .endpoint
        .iter()
        .flat_map(|endpoint| &endpoint.tls.ca_certificate_refs);
    let authorities = authorities.map(|reference| Reference {
        kind: match reference.kind {
            CaCertificateKind::ConfigMap => "ConfigMap",
        },
        name: reference.name.clone(),
    });
    // What is no name is told by `translate`, and is nothing to ask the API server for.
    let all = secret.chain(authorities);
    let each: BTreeSet<Reference> = all
        .filter(|reference| names::object(&reference.name).is_none())
        .collect();
    each.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use super::references;

    #[test]
    fn only_names_are_asked_for() {
        for (name, asked_for) in [
            ("key.v1", true),
            ("../other/secrets/key", false),
            ("a key", false),
        ] {
            let spec = serde_json::json!({
                "provider": {"openai": {}},
                "auth": {"secretRef": {"name": name}},
            });
            let found = references(&serde_json::from_value(spec).unwrap());
            assert_eq!(!found.is_empty(), asked_for, "{name}");
        }
    }
}
