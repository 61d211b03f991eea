//! What became of each object.

use std::collections::BTreeMap;
use std::fmt;

use crate::problem::Problem;
use crate::snapshot::Snapshot;

/// An object by its kind and name. Its `Display` is `Kind namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// `AIBackend`, `AIPolicy`, `Secret` or `ConfigMap`.
    pub kind: &'static str,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What became of one AIBackend or AIPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it is valid and, of a backend, answers for its hosts; else it is left out.
    pub accepted: Result<(), Vec<Problem>>,
    /// Whether what it refers to is there and good. A backend of which this is an error is served all the same: requests are answered with
    /// why there is no key.
    pub resolved_refs: Result<(), Vec<Problem>>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            accepted: Ok(()),
            resolved_refs: Ok(()),
        }
    }
}

/// A snapshot of what is right, and what became of each object.
#[derive(Debug)]
pub struct Translation {
    /// What is right.
    pub snapshot: Snapshot,
    /// Of every AIBackend and AIPolicy.
    pub outcomes: BTreeMap<ObjectName, Outcome>,
}
