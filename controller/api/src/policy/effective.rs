//! What all policies together mean for one workload's use of one backend.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use weir_ai::Endpoint;

use super::{Policy, Timeouts};
use crate::types::Operation;

/// What all policies together mean for one workload's use of one backend.
///
/// Each of them has to permit a request. Headers and timeouts come from the first that says something of them: policies of the backend's
/// namespace before those of the workload's, those that target the backend before those that target the workload, older before younger.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EffectivePolicy {
    policies: Vec<Arc<Policy>>,
    set_headers: Vec<(HeaderName, HeaderValue)>,
    remove_headers: Vec<HeaderName>,
    timeouts: Timeouts,
}

impl EffectivePolicy {
    /// Of policies that apply, in that order.
    pub(crate) fn new(policies: Vec<Arc<Policy>>) -> Self {
        let mut effective = Self::default();
        for policy in &policies {
            let decided = |effective: &Self, name: &HeaderName| {
                effective.set_headers.iter().any(|(set, _)| set == name)
                    || effective.remove_headers.contains(name)
            };
            for (name, value) in &policy.set_headers {
                if !decided(&effective, name) {
                    effective.set_headers.push((name.clone(), value.clone()));
                }
            }
            for name in &policy.remove_headers {
                if !decided(&effective, name) {
                    effective.remove_headers.push(name.clone());
                }
            }
            let timeouts = &mut effective.timeouts;
            timeouts.connect = timeouts.connect.or(policy.timeouts.connect);
            timeouts.first_byte = timeouts.first_byte.or(policy.timeouts.first_byte);
            timeouts.idle = timeouts.idle.or(policy.timeouts.idle);
        }
        effective.policies = policies;
        effective
    }

    /// The policies that apply, in the order in which they do.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Whether an operation may be asked for: known as soon as the request's head is.
    ///
    /// # Errors
    /// Which policy denies it.
    pub fn permits_operation(&self, endpoint: Endpoint) -> Result<(), Denial<'_>> {
        let operation = endpoint.operation().and_then(Operation::from_name);
        for policy in &self.policies {
            let denied = operation.is_some_and(|operation| policy.denied_operations.contains(&operation));
            let allowed = match operation {
                _ if policy.allowed_operations.is_empty() => true,
                Some(operation) => policy.allowed_operations.contains(&operation),
                None => matches!(endpoint, Endpoint::Models | Endpoint::CountTokens),
            };
            if denied || !allowed {
                return Err(Denial {
                    policy,
                    reason: Reason::Operation(operation),
                });
            }
        }
        Ok(())
    }

    /// Whether any policy restricts models: else a request need not be read before it is sent on.
    pub fn restricts_models(&self) -> bool {
        self.policies.iter().any(|policy| policy.restricts_models())
    }

    /// Whether a model may be asked for; `None` where the request names none, several, or none that could be read. Where models are restricted that is denied,
    /// but for listing models. Does not allocate.
    ///
    /// # Errors
    /// Which policy denies it.
    pub fn permits_model<'a>(&'a self, endpoint: Endpoint, model: Option<&'a str>) -> Result<(), Denial<'a>> {
        for policy in self.policies.iter().filter(|policy| policy.restricts_models()) {
            let permitted = match model {
                None => endpoint == Endpoint::Models,
                Some(model) => {
                    let matches = |globs: &[super::Glob]| globs.iter().any(|glob| glob.matches(model));
                    !matches(&policy.denied_models)
                        && (policy.allowed_models.is_empty() || matches(&policy.allowed_models))
                }
            };
            if !permitted {
                let reason = model.map_or(Reason::NoModel, Reason::Model);
                return Err(Denial { policy, reason });
            }
        }
        Ok(())
    }

    /// Headers of requests that are put in place of what the request has.
    pub fn set_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set_headers
    }

    /// Headers of requests that do not go upstream. None of them is among those that are set.
    pub fn remove_headers(&self) -> &[HeaderName] {
        &self.remove_headers
    }

    /// How long to wait for upstream.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// What a policy denies. Its `Display` is for whoever sent the request, and names the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What it denies.
    pub reason: Reason<'a>,
}

/// What is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'a> {
    /// That model.
    Model(&'a str),
    /// A request in which no model was seen, or more than one.
    NoModel,
    /// That operation; `None`: a request that is none that Weir knows.
    Operation(Option<Operation>),
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Model(model) => {
                write!(formatter, "the model `{}` is denied", crate::schema::short(model))?
            }
            Reason::NoModel => {
                formatter.write_str(
                    "the request names no model that could be read, or several, and models are restricted",
                )?;
            }
            Reason::Operation(Some(operation)) => {
                write!(formatter, "the operation `{}` is denied", operation.name())?;
            }
            Reason::Operation(None) => {
                formatter
                    .write_str("the request is no operation that is known, and operations are restricted")?;
            }
        }
        write!(
            formatter,
            " (AIPolicy {}/{})",
            self.policy.namespace, self.policy.name
        )
    }
}
