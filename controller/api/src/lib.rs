//! Weir's objects, and `translate`: objects to the snapshot that an agent serves from.
//!
//! There is one configuration model, Kubernetes objects. `weir run -f` reads them from a file with [`parse`], a controller from the API
//! server; both come to the same [`Snapshot`] by the same [`translate()`].

pub mod environment;
pub mod java;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod load;
mod names;
mod objects;
pub mod policy;
mod problem;
pub mod proto;
pub mod resource;
mod schema;
mod secret;
mod snapshot;
mod translate;
mod tree;
pub mod types;

pub use load::load;
pub use objects::{Objects, Reference, Sharing, parse, references};
pub use policy::duration::parse as duration;
pub use policy::{Denial, EffectivePolicy, Policy, Timeouts, WorkloadIdentity};
pub use problem::{Problem, Problems};
pub use snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls, Snapshot};
pub use translate::{ObjectName, Outcome, Translation, translate, translate_each};
pub use types::{Dial, FailurePolicy, OnUntrusted};

/// `apiVersion` of the objects that are Weir's own.
pub const API_VERSION: &str = "weir.dev/v1alpha1";
/// Where objects without a namespace are, and the command that `weir run` captures.
pub const DEFAULT_NAMESPACE: &str = "default";
