//! The namespaces whose pods are left alone, whatever labels say.

use std::collections::BTreeSet;

/// The namespaces whose pods are left alone. Their labels mean nothing, nor do those of their pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exempt {
    own: String,
    others: BTreeSet<String>,
}

impl Exempt {
    /// Weir's own namespace, and others.
    pub fn new(own: &str, others: impl IntoIterator<Item = String>) -> Self {
        Self {
            own: own.to_owned(),
            others: others.into_iter().collect(),
        }
    }

    /// Whether pods of `namespace` are left alone.
    pub fn contains(&self, namespace: &str) -> bool {
        self.is_own(namespace) || self.others.contains(namespace)
    }

    /// Whether it is Weir's own.
    pub fn is_own(&self, namespace: &str) -> bool {
        self.own == namespace
    }
}
