//! What the captured command finds in its environment: whom to trust, and a key where an SDK insists on one.

use std::ffi::OsString;

use weir_ai::Provider;

use super::TrustFiles;

/// What a key variable holds where the command has no key of its own. SDKs refuse to start without one; it never
/// goes upstream ([`is_placeholder`]).
pub const PLACEHOLDER_KEY: &str = "weir-placeholder-weir-puts-the-key-in";

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
    let mut variables: Vec<(&'static str, OsString)> = trust
        .variables()
        .map(|(name, path)| (name, path.as_os_str().to_owned()))
        .collect();
    for provider in with_credential {
        for &name in provider.key_variables() {
            let given = inherited(name).is_some_and(|value| !value.is_empty());
            if !given && !variables.iter().any(|(set, _)| *set == name) {
                variables.push((name, PLACEHOLDER_KEY.into()));
            }
        }
    }
    variables
}
