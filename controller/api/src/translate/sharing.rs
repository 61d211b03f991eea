//! Who answers for a host, and to whom.

use std::collections::HashMap;

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

    /// Those whose hosts no older one has for the same callers. Backends come the older first.
    ///
    /// To a namespace its own backends answer, and for the hosts that none of them names, those for all. So two are in each other's way if they are of
    /// one namespace, or both for all; what a namespace keeps to itself is in nobody else's way, however old it is.
    pub(super) fn uncontested(&mut self, backends: Vec<(&Located<AIBackendSpec>, Backend)>) -> Vec<Backend> {
        let mut holders = Holders::default();
        let mut accepted = Vec::with_capacity(backends.len());
        for (located, backend) in &backends {
            self.of = Some(located.object_name());
            let before = self.own_problems();
            for (index, host) in backend.hosts.iter().enumerate() {
                if let Some((holder, why)) = holders.in_the_way_of(located, host) {
                    let field = match located.value.hosts.is_empty() {
                        true => "spec.hosts".to_owned(),
                        false => format!("spec.hosts[{index}]"),
                    };
                    let message = format!(
                        "`{host}` is answered for already by {}{}, and {why}: take the host out of one of them",
                        holder.place.object,
                        holder.place.which(),
                    );
                    self.say(located, &field, message);
                }
            }
            let is_accepted = self.own_problems() == before;
            if is_accepted {
                holders.add(located, &backend.hosts);
            }
            accepted.push(is_accepted);
        }
        let backends = backends.into_iter().zip(accepted);
        backends
            .filter_map(|((_, backend), is_accepted)| is_accepted.then_some(backend))
            .collect()
    }
}

/// Who has a host, the oldest of each.
#[derive(Default)]
struct Holders<'a> {
    /// By host, among those for all namespaces.
    for_all: HashMap<&'a str, &'a Located<AIBackendSpec>>,
    /// By namespace and host, among those of that namespace.
    of_namespace: HashMap<(&'a str, &'a str), &'a Located<AIBackendSpec>>,
}

impl<'a> Holders<'a> {
    fn add(&mut self, located: &'a Located<AIBackendSpec>, hosts: &'a [String]) {
        for host in hosts {
            if is_for_all(located) {
                self.for_all.entry(host).or_insert(located);
            }
            self.of_namespace
                .entry((&located.namespace, host))
                .or_insert(located);
        }
    }

    /// Which one, and why there cannot be both.
    fn in_the_way_of(
        &self,
        located: &'a Located<AIBackendSpec>,
        host: &'a str,
    ) -> Option<(&'a Located<AIBackendSpec>, &'static str)> {
        let of_namespace = self.of_namespace.get(&(located.namespace.as_str(), host));
        let for_all = self.for_all.get(host).filter(|_| is_for_all(located));
        let of_namespace = of_namespace.map(|holder| (*holder, "both are of one namespace"));
        let for_all = for_all.map(|holder| (*holder, "both are for all namespaces"));
        // What is told as a duplicate object is not told again.
        let is_another =
            |(holder, _): &(&Located<AIBackendSpec>, _)| holder.place.object != located.place.object;
        of_namespace
            .filter(is_another)
            .or_else(|| for_all.filter(is_another))
    }
}

fn is_for_all(located: &Located<AIBackendSpec>) -> bool {
    located.value.allowed_namespaces.from == NamespacesFrom::All
}
