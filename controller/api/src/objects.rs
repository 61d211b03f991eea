//! Objects as they were read from a text, each knowing where it stood.

mod from_api;
mod from_text;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub use from_api::{Reference, references};
pub use from_text::parse;
pub(crate) use from_text::parse_what_can_be;
use secrecy::SecretSlice;

use crate::problem::Problem;
use crate::translate::ObjectName;
use crate::types::{AIBackendSpec, AIPolicySpec};

/// Objects: of files, in the order they were written in, or of the API server.
#[derive(Debug, Default)]
pub struct Objects {
    pub(crate) backends: Vec<Located<AIBackendSpec>>,
    pub(crate) policies: Vec<Located<AIPolicySpec>>,
    pub(crate) secrets: Vec<Located<BTreeMap<String, SecretSlice<u8>>>>,
    pub(crate) config_maps: Vec<Located<BTreeMap<String, String>>>,
    /// Objects that are there but could not be read: that they are missing is not to be told on top.
    pub(crate) unreadable: HashSet<String>,
    /// Objects that whoever reads the others may not read, so that nobody knows whether they are there.
    pub(crate) forbidden: HashSet<String>,
    /// Objects that the API server can't read, with what it says of that.
    pub(crate) unanswered: HashMap<String, String>,
    /// Whether something is there of which not even the kind and name are known: it may be whatever is missing.
    pub(crate) has_unknown: bool,
    /// Whose backends may be for all namespaces: who runs the cluster says so, and of a file whoever writes it.
    pub(crate) sharing: Sharing,
}

/// Which namespaces' backends may be for workloads of all namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Any namespace's.
    #[default]
    Any,
    /// Those of these.
    Only(BTreeSet<String>),
}

impl Objects {
    /// None yet, of which backends of these namespaces may be for all.
    pub fn shared_by(sharing: Sharing) -> Self {
        Self {
            sharing,
            ..Self::default()
        }
    }

    /// Adds the objects of another text.
    pub fn extend(&mut self, other: Self) {
        self.backends.extend(other.backends);
        self.policies.extend(other.policies);
        self.secrets.extend(other.secrets);
        self.config_maps.extend(other.config_maps);
        self.unreadable.extend(other.unreadable);
        self.forbidden.extend(other.forbidden);
        self.unanswered.extend(other.unanswered);
        self.has_unknown |= other.has_unknown;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
            && self.policies.is_empty()
            && self.secrets.is_empty()
            && self.config_maps.is_empty()
            && self.unreadable.is_empty()
            && self.forbidden.is_empty()
            && self.unanswered.is_empty()
            && !self.has_unknown
    }
}

/// An object and where it stood.
#[derive(Debug)]
pub(crate) struct Located<T> {
    pub(crate) kind: &'static str,
    pub(crate) place: Place,
    /// When it was created, in seconds since the epoch. Objects of a file have no age.
    pub(crate) creation: Option<i64>,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) value: T,
}

impl<T> Located<T> {
    pub(crate) fn object_name(&self) -> ObjectName {
        ObjectName {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// Where an object stood, as a whole and field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Empty: it came from the API server.
    source: Arc<str>,
    line: usize,
    /// `Kind namespace/name`.
    pub(crate) object: String,
    lines: HashMap<String, usize>,
    unknown_in: HashSet<String>,
}

impl Place {
    /// Whether the map at `field` has unknown fields, which were told.
    pub(crate) fn has_unknown_in(&self, field: &str) -> bool {
        self.unknown_in.contains(field)
    }

    /// `file:line` of the object.
    pub(crate) fn describe(&self) -> String {
        format!("{}:{}", self.source, self.line)
    }

    /// Goes after the object's name: where it stands in a file, or why it comes first where it does not.
    pub(crate) fn which(&self) -> String {
        match self.source.is_empty() {
            true => ", which is older".to_owned(),
            false => format!(" ({})", self.describe()),
        }
    }

    /// Whether the field was written.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.lines.contains_key(field)
    }

    /// A problem of a field; its line is that of the nearest field around it that was written.
    pub(crate) fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        let mut around = field;
        let line = loop {
            if let Some(line) = self.lines.get(around) {
                break *line;
            }
            match around.rfind(['.', '[']) {
                Some(at) => around = &around[..at],
                None => break self.line,
            }
        };
        Problem {
            source: self.source.to_string(),
            line,
            object: Some(self.object.clone()),
            field: field.to_owned(),
            message: message.into(),
        }
    }
}
