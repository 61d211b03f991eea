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

use std::time::Duration;

pub use load::load;
pub use objects::{Objects, Reference, Sharing, parse, references};
pub use policy::duration::parse as duration;
pub use policy::{Denial, EffectivePolicy, Policy, Timeouts, WorkloadIdentity};
pub use problem::{Problem, Problems};
pub use snapshot::{AllowedNamespaces, Auth, Backend, BackendEndpoint, EndpointTls, Snapshot};
pub use translate::{ObjectName, Outcome, Translation, translate, translate_each};
pub use types::{Dial, FailurePolicy, OnUntrusted};

/// By when every replica of the controller knows what one of them does. Until then, that one does not name something is no reason to let go of
/// it: it may be behind. A watch of the API server that is cut off is noticed within a minute, and what it brings is told seconds later.
pub const REPLICAS_AGREE_WITHIN: Duration = Duration::from_secs(90);

/// `apiVersion` of the objects that are Weir's own.
pub const API_VERSION: &str = "weir.dev/v1alpha1";
/// Where objects without a namespace are, and the command that `weir run` captures.
pub const DEFAULT_NAMESPACE: &str = "default";
