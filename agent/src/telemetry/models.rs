//! Which model names may become a label: names come from callers, and a label costs memory for ever.

use hashbrown::HashSet;
use parking_lot::RwLock;

/// The label of models beyond the bound, and of those that no provider has ever taken.
pub(super) const OTHER: &str = "other";
/// Distinct models that become labels in a process.
const MODELS: usize = 500;
/// A longer name is no model's.
const NAME_LENGTH: usize = 128;

/// The models that have a label of their own.
#[derive(Debug, Default)]
pub(super) struct Models(RwLock<HashSet<Box<str>>>);

impl Models {
    /// The label of `model`. A new name is admitted only where a provider `accepted` the request: names that are
    /// only ever refused are a caller's invention, and must not fill the bound.
    pub(super) fn label<'a>(&self, model: Option<&'a str>, accepted: bool) -> &'a str {
        let Some(model) = model else {
            return "";
        };
        if self.0.read().contains(model) {
            return model;
        }
        if !accepted || model.len() > NAME_LENGTH {
            return OTHER;
        }
        let mut known = self.0.write();
        if known.len() >= MODELS {
            return if known.contains(model) { model } else { OTHER };
        }
        known.insert(model.into());
        model
    }
}

#[cfg(test)]
mod tests {
    use super::{MODELS, Models, NAME_LENGTH, OTHER};

    #[test]
    fn a_model_has_its_name_once_a_provider_took_it() {
        let models = Models::default();
        assert_eq!(models.label(Some("gpt-4o"), false), OTHER);
        assert_eq!(models.label(Some("gpt-4o"), true), "gpt-4o");
        assert_eq!(
            models.label(Some("gpt-4o"), false),
            "gpt-4o",
            "its errors are its own from then on"
        );
        assert_eq!(models.label(None, true), "");
    }

    #[test]
    fn refused_names_never_fill_the_bound() {
        let models = Models::default();
        for index in 0..10 * MODELS {
            assert_eq!(models.label(Some(&format!("invented-{index}")), false), OTHER);
        }
        assert_eq!(models.label(Some("gpt-4o"), true), "gpt-4o");
    }

    #[test]
    fn the_bound_holds() {
        let models = Models::default();
        for index in 0..MODELS {
            let model = format!("model-{index}");
            assert_eq!(models.label(Some(&model), true), model);
        }
        assert_eq!(models.label(Some("one-more"), true), OTHER);
        assert_eq!(models.label(Some("model-7"), true), "model-7");
    }

    #[test]
    fn a_name_too_long_for_a_model_is_other() {
        assert_eq!(
            Models::default().label(Some(&"x".repeat(NAME_LENGTH + 1)), true),
            OTHER
        );
    }
}
