//! The objects as they are written: the single truth of which fields there are, of their types and of their defaults.
//!
//! A file is checked against the schema that is derived from these types, and so is what goes to the API server: the custom resources' schemas are
//! the same ones, with the rules (CEL) that stand here beside the fields. A field that is added here is known everywhere at once.
//! No `deny_unknown_fields`: strictness belongs to whoever knows lines (a file) or has the schema (the API server).

mod backend;
mod document;
mod policy;
mod rules;
#[cfg(feature = "kubernetes")]
mod status;

#[cfg(feature = "kubernetes")]
pub use backend::AIBackend;
pub use backend::{
    AIBackendSpec, AllowedNamespacesSpec, AuthSpec, CaCertificateKind, CaCertificateReference, Dial,
    EndpointSpec, NamespacesFrom, OnUntrusted, Passthrough, ProviderFields, ProviderSpec, SecretReference,
    TlsMode, TlsSpec,
};
#[cfg(feature = "kubernetes")]
pub use policy::AIPolicy;
pub use policy::{
    AIPolicySpec, DurationText, FailurePolicy, HeaderName, HeadersSpec, Labels, ModelsSpec, Operation,
    OperationsSpec, SetHeader, TargetKind, TargetReference, TimeoutsSpec,
};
#[cfg(feature = "kubernetes")]
pub use status::{AIBackendStatus, AIPolicyStatus};

pub(crate) use document::{ConfigMap, Document, ListShape, Metadata, SecretShape};
pub(crate) use rules::KEPT_HEADERS;
