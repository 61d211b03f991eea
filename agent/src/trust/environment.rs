//! What the captured command finds in its environment: whom to trust, and a key where an SDK insists on one.

use std::ffi::OsString;

use weir_ai::Provider;
use weir_api::environment::{PLACEHOLDER_KEY, placeholder_variables};

use super::TrustFiles;

/// Whether a credential header's value (`Bearer …` or bare) is our placeholder rather than a key.
pub fn is_placeholder(value: &[u8]) -> bool {
    memchr::memmem::find(value, PLACEHOLDER_KEY.as_bytes()).is_some()
}

/// The variables to set for the command, beyond what it inherits.
///
/// `with_credential`: the providers whose key Weir puts in (a backend that may be used and does not say `passthrough`,
/// also where its Secret can't be resolved: the SDK then starts, and our 401 says what is missing). A key variable that
/// the command has already is left alone. `inherited` reads the environment that the command would otherwise have.
pub fn child_environment(
    trust: &TrustFiles,
    with_credential: impl IntoIterator<Item = Provider>,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&'static str, OsString)> = trust.variables().collect();
    let is_given = |name: &str| inherited(name).is_some_and(|value| !value.is_empty());
    let placeholders = placeholder_variables(with_credential, is_given);
    variables.extend(
        placeholders
            .into_iter()
            .map(|name| (name, PLACEHOLDER_KEY.into())),
    );
    variables
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use weir_ai::Provider;
    use weir_api::environment::PLACEHOLDER_KEY;

    use super::{child_environment, is_placeholder};
    use crate::trust::{LocalAuthority, TrustFiles};

    #[test]
    fn a_placeholder_is_known_in_every_header_that_carries_it() {
        for header in [PLACEHOLDER_KEY.to_owned(), format!("Bearer {PLACEHOLDER_KEY}")] {
            assert!(is_placeholder(header.as_bytes()));
        }
        assert!(!is_placeholder(b"Bearer sk-proj-abc"));
        assert!(!is_placeholder(b""));
    }

    #[test]
    fn a_key_is_stood_in_for_only_where_there_is_none() {
        let state = tempfile::tempdir().expect("a temporary directory");
        let authority = LocalAuthority::open(state.path()).expect("a root");
        let trust = TrustFiles::write(state.path(), &authority, |_| None).expect("files");
        let inherited = |name: &str| match name {
            "ANTHROPIC_API_KEY" => Some(OsString::from("sk-ant-own")),
            "GROQ_API_KEY" => Some(OsString::new()),
            _ => None,
        };
        let with_credential = [
            Provider::OpenAi,
            Provider::Anthropic,
            Provider::Groq,
            Provider::OpenAi,
        ];
        let variables = child_environment(&trust, with_credential, inherited);
        let keys: Vec<_> = variables
            .iter()
            .filter(|(name, _)| name.ends_with("_API_KEY"))
            .collect();
        assert_eq!(
            keys,
            [
                &("OPENAI_API_KEY", OsString::from(PLACEHOLDER_KEY)),
                &("GROQ_API_KEY", OsString::from(PLACEHOLDER_KEY))
            ]
        );
        assert_eq!(variables.len(), trust.variables().count() + 2);
    }
}
