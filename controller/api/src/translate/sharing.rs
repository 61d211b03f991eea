//! Who answers for a host, and to whom.

use super::Translator;
use crate::objects::{Located, Sharing};
use crate::snapshot::Backend;
use crate::types::{AIBackendSpec, NamespacesFrom};

impl Translator<'_> {
    /// Whether its namespace may decide what becomes of other namespaces' calls.
    pub(super) fn sharing(&mut self, located: &Located<AIBackendSpec>) {
        if is_for_all(located)
            && let Sharing::Only(namespaces) = &self.objects.sharing
            && !namespaces.contains(&located.namespace)
        {
            let message = format!(
                "is `All`, but namespace {} may not answer for others: write `Same`, or have it added to the chart's `controller.sharingNamespaces`",
                located.namespace
            );
            self.say(located, "spec.allowedNamespaces.from", message);
        }
    }

    /// Those whose hosts no older one has. No namespace may see two backends for one host: which one it gets would be chance.
    pub(super) fn uncontested(&mut self, backends: Vec<(&Located<AIBackendSpec>, Backend)>) -> Vec<Backend> {
        let mut winners: Vec<(&Located<AIBackendSpec>, Backend)> = Vec::with_capacity(backends.len());
        for (located, backend) in backends {
            self.of = Some(located.object_name());
            let before = self.own_problems();
            for (index, host) in backend.hosts.iter().enumerate() {
                // What is told as a duplicate object is not told again.
                let contest = winners.iter().find(|(other, winner)| {
                    other.place.object != located.place.object
                        && winner.hosts.contains(host)
                        && some_namespace_sees_both(other, located)
                });
                if let Some((other, _)) = contest {
                    let field = match located.value.hosts.is_empty() {
                        true => "spec.hosts".to_owned(),
                        false => format!("spec.hosts[{index}]"),
                    };
                    let message = format!(
                        "`{host}` is answered for already by {}{}, and a namespace can see both: take the host out of one of them",
                        other.place.object,
                        other.place.which(),
                    );
                    self.say(located, &field, message);
                }
            }
            if self.own_problems() == before {
                winners.push((located, backend));
            }
        }
        winners.into_iter().map(|(_, backend)| backend).collect()
    }
}

fn is_for_all(located: &Located<AIBackendSpec>) -> bool {
    located.value.allowed_namespaces.from == NamespacesFrom::All
}

fn some_namespace_sees_both(one: &Located<AIBackendSpec>, other: &Located<AIBackendSpec>) -> bool {
    is_for_all(one) || is_for_all(other) || one.namespace == other.namespace
}
