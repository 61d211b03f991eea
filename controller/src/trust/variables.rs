//! What ConfigMap `weir-environment` holds: the variables of containers that take theirs from elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::copies::Content;
use crate::configuration::Configuration;
use crate::environment;

/// By namespace. It is made once for a configuration: there are pods' changes all the time.
pub(super) struct Environments {
    of: Arc<Configuration>,
    by_namespace: BTreeMap<String, Arc<Content>>,
}

impl Environments {
    /// `made`, made anew if it is of another configuration.
    pub(super) fn of(made: &mut Option<Self>, configuration: Arc<Configuration>) -> &mut Self {
        made.take_if(|environments| !Arc::ptr_eq(&environments.of, &configuration));
        made.get_or_insert_with(|| Self {
            of: configuration,
            by_namespace: BTreeMap::new(),
        })
    }

    pub(super) fn content(&mut self, namespace: &str) -> Arc<Content> {
        if let Some(content) = self.by_namespace.get(namespace) {
            return Arc::clone(content);
        }
        let variables = environment::for_env_from(self.of.credentialed(namespace));
        let content = Arc::new(Content::new(variables, BTreeMap::new()));
        self.by_namespace
            .insert(namespace.to_owned(), Arc::clone(&content));
        content
    }
}
