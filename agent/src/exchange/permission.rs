//! Whether a request's model may be asked, found out while its body passes.

use std::sync::Arc;

use weir_ai::{Endpoint, RequestFacts};
use weir_api::{Denial, EffectivePolicy};

/// A request whose model has to be permitted before its body may end. No provider can act on a body that breaks off before that.
pub(super) struct Permission {
    policy: Arc<EffectivePolicy>,
    endpoint: Endpoint,
    verdict: Verdict,
}

enum Verdict {
    /// Nothing was named yet.
    Open,
    /// The one model that was named so far is permitted.
    Permitted,
    Denied(DeniedModel),
}

/// A request whose model is denied.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{denial}")]
pub(super) struct DeniedModel {
    /// Which policy denies what.
    pub(super) denial: String,
    /// The model, where one was named.
    pub(super) model: Option<String>,
}

impl DeniedModel {
    pub(super) fn new(denial: &Denial<'_>, model: Option<&str>) -> Self {
        Self {
            denial: denial.to_string(),
            model: model.map(str::to_owned),
        }
    }
}

impl Permission {
    /// `None` where no policy restricts models, so that nothing has to wait for one.
    pub(super) fn needed(policy: &Arc<EffectivePolicy>, endpoint: Endpoint) -> Option<Self> {
        policy.restricts_models().then(|| Self {
            policy: Arc::clone(policy),
            endpoint,
            verdict: Verdict::Open,
        })
    }

    /// Whether it is not known yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.verdict, Verdict::Open)
    }

    /// Why it was denied.
    pub(super) fn denied(&self) -> Option<&DeniedModel> {
        match &self.verdict {
            Verdict::Denied(denied) => Some(denied),
            Verdict::Open | Verdict::Permitted => None,
        }
    }

    /// Takes what is known of the body so far, and whether that is all; the error is the denial. A model that is named twice is none, for which of the
    /// two holds is up to the provider's parser. Nor is one in a body that is no JSON: a parser that reads it all the same may read on where we stopped.
    pub(super) fn hold_against(&mut self, facts: RequestFacts<'_>, ended: bool) -> Result<(), DeniedModel> {
        let is_ambiguous = facts.several_models || facts.broken;
        let model = facts.model.filter(|_| !is_ambiguous);
        let judged = match &self.verdict {
            Verdict::Denied(denied) => return Err(denied.clone()),
            Verdict::Permitted => is_ambiguous,
            Verdict::Open => model.is_some() || is_ambiguous || facts.complete || ended,
        };
        if judged {
            self.verdict = match self.policy.permits_model(self.endpoint, model) {
                Ok(()) => Verdict::Permitted,
                Err(denial) => Verdict::Denied(DeniedModel::new(&denial, facts.model)),
            };
        }
        match &self.verdict {
            Verdict::Denied(denied) => Err(denied.clone()),
            Verdict::Open | Verdict::Permitted => Ok(()),
        }
    }
}
