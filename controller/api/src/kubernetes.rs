//! The custom resources, as the API server knows them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use crate::types::{AIBackend, AIBackendStatus, AIPolicy, AIPolicyStatus};

/// The definitions of all custom resources: what `charts/weir-crds` installs.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [AIBackend::crd(), AIPolicy::crd()]
}
