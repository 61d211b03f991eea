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
    } = one;
    *provider == other.provider
        && *hosts == other.hosts
        && *endpoint == other.endpoint
        && *allowed_namespaces == other.allowed_namespaces
        && *dial == other.dial
        && *on_untrusted == other.on_untrusted
        && match (auth, &other.auth) {
            (Auth::Passthrough, Auth::Passthrough) | (Auth::Key(_), Auth::Key(_)) => true,
            (Auth::Unresolved(why), Auth::Unresolved(other)) => why == other,
            _ => false,
        }
}
