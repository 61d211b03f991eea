//! Names that the controller shares with the chart, the agent and the pods. They are a contract: none is configurable.

/// Label of namespaces and pods: `enabled`, `observe` or `disabled`.
pub const INTERCEPT_LABEL: &str = "weir.dev/intercept";
/// Annotation that the webhook leaves on a pod that it has given our root to.
pub const INJECTED_ANNOTATION: &str = "weir.dev/injected";
/// Annotation of the API's objects of static pods, which a kubelet makes; Kubernetes' own.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// The agents' service account, in our own namespace.
pub const AGENT_SERVICE_ACCOUNT: &str = "weir-agent";
/// The audience that an agent's token must have.
pub const TOKEN_AUDIENCE: &str = "weir-controller";

/// The controller's Service, Deployment, Lease and ClusterRole.
pub const CONTROLLER: &str = "weir-controller";
/// The webhook's Service, its Secret, and its MutatingWebhookConfiguration.
pub const WEBHOOK: &str = "weir-webhook";
/// Secret of the interception root.
pub const ROOT_SECRET: &str = "weir-root";
/// Secret of the gRPC server's authority and certificate.
pub const CONTROL_PLANE_SECRET: &str = "weir-control-plane";
/// ConfigMap by which agents know the gRPC server.
pub const CONTROL_PLANE_CA: &str = "weir-control-plane-ca";
/// ConfigMap of the roots that pods trust, in each namespace that is intercepted; and the volume of it.
pub const TRUST_CONFIG_MAP: &str = "weir-trust";
/// Key in [`TRUST_CONFIG_MAP`]: the public roots and ours.
pub const BUNDLE_KEY: &str = "ca-bundle.crt";
/// Key in [`TRUST_CONFIG_MAP`]: our root alone.
pub const ROOT_KEY: &str = "root.crt";
/// Key in [`TRUST_CONFIG_MAP`]: the public roots and ours, as Java reads them.
pub const JAVA_KEY: &str = "java.jks";
/// Where pods find [`TRUST_CONFIG_MAP`].
pub const TRUST_DIRECTORY: &str = "/etc/weir/trust";
/// ConfigMap of the variables of containers with `envFrom`, in each namespace that is intercepted.
pub const ENVIRONMENT_CONFIG_MAP: &str = "weir-environment";
/// The init container that waits until its pod is captured.
pub const CAPTURE_CHECK: &str = "weir-capture-check";
/// ConfigMap in our own namespace: while it is there, all pods are released.
pub const RETIRING: &str = "weir-retiring";
/// Label of the ConfigMaps by which replicas tell each other what their agents have taken.
pub const SUMMARY_LABEL: &str = "weir.dev/programmed";
/// Who the API server is told has set a field.
pub const FIELD_MANAGER: &str = "weir-controller";
