//! Objects as a file has them: what stands around `spec`, and the kinds that are Kubernetes' own.
//!
//! `kubectl get -o yaml` gives back more than was written. What the API server has put in is taken without effect, whatever it is: `x-without-effect`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the API server, and controllers, write into `metadata`.
const OF_THE_API_SERVER: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What every object has: as far as a file needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-without-effect" = OF_THE_API_SERVER))]
pub(crate) struct Metadata {
    /// The object's name: a DNS name in lower case.
    pub(crate) name: String,
    /// Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// An object of Weir's own as a whole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-without-effect" = ["status"]))]
#[allow(dead_code, reason = "some fields are read by the derived schema alone")]
pub(crate) struct Document<Spec> {
    /// `weir.dev/v1alpha1`.
    pub(crate) api_version: String,
    /// `AIBackend` or `AIPolicy`.
    pub(crate) kind: String,
    /// Its name and namespace.
    pub(crate) metadata: Metadata,
    /// What is wanted.
    pub(crate) spec: Spec,
}

/// A Kubernetes `ConfigMap`, as far as a file needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-without-effect" = ["binaryData"]))]
pub(crate) struct ConfigMap {
    /// `v1`.
    pub(crate) api_version: String,
    /// `ConfigMap`.
    pub(crate) kind: String,
    /// Its name and namespace.
    pub(crate) metadata: Metadata,
    /// Texts by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data: BTreeMap<String, String>,
    /// Taken, and without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) immutable: Option<bool>,
}

/// The shape of a Kubernetes `Secret`, as far as a file needs it. Only its schema is used: no value is ever read into it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by the derived schema alone")]
pub(crate) struct SecretShape {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[schemars(default)]
    data: BTreeMap<String, String>,
    #[schemars(default)]
    string_data: BTreeMap<String, String>,
    r#type: Option<String>,
    immutable: Option<bool>,
}

/// The shape of a Kubernetes `List`, as `kubectl get -o yaml` writes several objects. Only its schema is used: each item is read by its own kind.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("x-without-effect" = ["metadata"]))]
#[allow(dead_code, reason = "read by the derived schema alone")]
pub(crate) struct ListShape {
    api_version: String,
    kind: String,
    items: Vec<serde_json::Value>,
}
