//! What a new snapshot changes: for the log.

use std::fmt;

use secrecy::ExposeSecret;
use weir_api::{Auth, Backend, Snapshot};

/// Backends by what became of them, as `namespace/name`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    rotated: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// From one snapshot to the next. A backend of which only the key has changed counts as rotated.
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut changes = Self::default();
        for backend in new.backends() {
            let Some(before) = find(old, backend) else {
                changes.added.push(name(backend));
                continue;
            };
            if !same_but_for_key(before, backend) {
                changes.changed.push(name(backend));
            }
            if let (Auth::Key(before), Auth::Key(now)) = (&before.auth, &backend.auth)
                && before.expose_secret() != now.expose_secret()
            {
                changes.rotated.push(name(backend));
            }
        }
        let is_gone = |backend: &&std::sync::Arc<Backend>| find(new, backend).is_none();
        changes.removed = old
            .backends()
            .iter()
            .filter(is_gone)
            .map(|backend| name(backend))
            .collect();
        changes
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (what, which) in [
            ("added", &self.added),
            ("changed", &self.changed),
            ("credential rotated", &self.rotated),
            ("removed", &self.removed),
        ] {
            if !which.is_empty() {
                write!(formatter, "{separator}{what}: {}", which.join(", "))?;
                separator = "; ";
            }
        }
        if separator.is_empty() {
            formatter.write_str("no backend differs")
        } else {
            Ok(())
        }
    }
}

fn name(backend: &Backend) -> String {
    format!("{}/{}", backend.namespace, backend.name)
}

fn find<'a>(snapshot: &'a Snapshot, wanted: &Backend) -> Option<&'a Backend> {
    let same = |backend: &&Backend| backend.namespace == wanted.namespace && backend.name == wanted.name;
    snapshot.backends().iter().map(|backend| &**backend).find(same)
}

/// Destructured, so that a field which is added to a backend cannot be forgotten here.
fn same_but_for_key(one: &Backend, other: &Backend) -> bool {
    let Backend {
        name: _,
        namespace: _,
        provider,
        hosts,
        auth,
        endpoint,
        allowed_namespaces,
        dial,
        on_untrusted,
        policies,
    } = one;
    *provider == other.provider
        && *hosts == other.hosts
        && *endpoint == other.endpoint
        && *allowed_namespaces == other.allowed_namespaces
        && *dial == other.dial
        && *on_untrusted == other.on_untrusted
        && *policies == other.policies
        && match (auth, &other.auth) {
            (Auth::Passthrough, Auth::Passthrough) | (Auth::Key(_), Auth::Key(_)) => true,
            (Auth::Unresolved(why), Auth::Unresolved(other)) => why == other,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(key: &str, backends: &[(&str, &str)]) -> Snapshot {
        let mut text =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{apiKey: {key}}}\n");
        for (name, more) in backends {
            text.push_str(&format!(
                "---\napiVersion: weir.dev/v1alpha1\nkind: AIBackend\nmetadata: {{name: {name}}}\nspec:\n  \
                 provider: {{openai: {{}}}}\n  hosts: [{name}.example]\n  {more}\n"
            ));
        }
        weir_api::load([("weir.yaml", text.as_str())], &|_| None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_change_is_named_and_no_key() {
        let key = "auth: {secretRef: {name: key}}";
        let passthrough = "auth: {passthrough: {}}";
        let old = snapshot(
            "sk-1",
            &[
                ("a", key),
                ("b", passthrough),
                ("c", passthrough),
                ("d", passthrough),
            ],
        );
        let node = format!("{passthrough}\n  dial: Node");
        let new = snapshot("sk-2", &[("a", key), ("b", key), ("c", &node), ("e", key)]);
        assert_eq!(
            Changes::between(&old, &new).to_string(),
            "added: default/e; changed: default/b, default/c; credential rotated: default/a; removed: default/d"
        );
        assert_eq!(Changes::between(&old, &old).to_string(), "no backend differs");
    }
}
