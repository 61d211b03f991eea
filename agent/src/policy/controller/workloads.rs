//! Which pods of this node are to be captured, and how.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_api::proto;

use crate::capture::FailurePolicy;
use crate::capture::pods::PodUid;
use crate::telemetry::record::Workload;

/// What becomes of a captured pod's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Those to a backend's hosts are terminated.
    Intercepted,
    /// All are relayed and counted; no TLS is opened.
    Observed(ObservedWhy),
}

/// Why a pod is only observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedWhy {
    /// Its label says so.
    Label,
    /// It was there before it could be given our root: until it restarts.
    Untrusting,
    /// A policy that targets it has not been sent, or is rejected.
    Policy,
}

/// A pod that is to be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWorkload {
    /// Who it is.
    pub workload: Arc<Workload>,
    /// What becomes of its connections.
    pub treatment: Treatment,
    /// What becomes of them while no agent is there.
    pub on_failure: FailurePolicy,
}

/// The pods of this node that are to be captured, by uid.
pub type Workloads = BTreeMap<PodUid, PodWorkload>;

/// The workload in a message; the error says what is wrong with it.
pub(super) fn workload(name: &str, message: &proto::Workload) -> Result<(PodUid, PodWorkload), String> {
    if name != message.uid {
        return Err(format!("is named so, but its uid is {}", message.uid));
    }
    let uid = PodUid::parse(name).ok_or("uid: is no pod's uid")?;
    let unknown =
        |field: &str, value: i32| format!("{field}: this agent does not know {value}: upgrade the agent");
    let treatment = match message.intercept() {
        proto::Intercept::Enabled if message.trusts => Treatment::Intercepted,
        proto::Intercept::Enabled => Treatment::Observed(ObservedWhy::Untrusting),
        proto::Intercept::Observe => Treatment::Observed(ObservedWhy::Label),
        proto::Intercept::Unspecified => return Err(unknown("intercept", message.intercept)),
    };
    let on_failure = match message.failure_policy() {
        proto::FailurePolicy::Open => FailurePolicy::Open,
        proto::FailurePolicy::Closed => FailurePolicy::Closed,
        proto::FailurePolicy::Unspecified => {
            return Err(unknown("failure_policy", message.failure_policy));
        }
    };
    let workload = PodWorkload {
        workload: Arc::new(Workload {
            uid: Some(message.uid.clone()),
            namespace: message.namespace.clone(),
            pod: Some(message.pod.clone()),
            service_account: message.service_account.clone(),
        }),
        treatment,
        on_failure,
    };
    Ok((uid, workload))
}
