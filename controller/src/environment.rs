//! The variables that containers are given: whom to trust, and a placeholder where an SDK insists on a key. What a container sets itself is kept.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use weir_ai::Provider;
use weir_api::environment::{PLACEHOLDER_KEY, TRUST_VARIABLES, TrustVariable, placeholder_variables};
use weir_api::java;

use crate::names::{BUNDLE_KEY, JAVA_KEY, ROOT_KEY, TRUST_DIRECTORY};

/// Names and values for a container that takes its variables from `env` alone, the list in its manifest. `providers`: those whose key Weir puts in.
pub fn for_container(
    env: &[Json],
    providers: impl IntoIterator<Item = Provider>,
) -> Vec<(&'static str, String)> {
    let is_set = |name: &str| env.iter().any(|variable| variable["name"] == name);
    let mut variables = Vec::new();
    for variable in TRUST_VARIABLES {
        // Setting it would hide from its readers what the pod has chosen for them by the other.
        let is_chosen = is_set(variable.name) || variable.falls_back_to.is_some_and(is_set);
        if !is_chosen {
            variables.push((variable.name, file(variable)));
        }
    }
    let options = java_options();
    let is_told = env.iter().any(|variable| variable["value"] == options);
    let mut free = java::OPTIONS_VARIABLES.into_iter().filter(|name| !is_set(name));
    if let Some(name) = free.next().filter(|_| !is_told) {
        variables.push((name, options));
    }
    for name in placeholder_variables(providers, is_set) {
        variables.push((name, PLACEHOLDER_KEY.to_owned()));
    }
    variables
}

/// For containers whose own variables nobody knows before they start, because they come from elsewhere (`envFrom`): to stand below those. So it has to
/// be right whichever of them are set.
pub fn for_env_from(providers: impl IntoIterator<Item = Provider>) -> BTreeMap<String, String> {
    let trust = TRUST_VARIABLES
        .iter()
        .filter(|variable| !falls_back(variable))
        .map(|variable| (variable.name, file(variable)));
    // Each may be taken by the container's own.
    let java = java::OPTIONS_VARIABLES.map(|name| (name, java_options()));
    let placeholders = placeholder_variables(providers, |_| false)
        .into_iter()
        .map(|name| (name, PLACEHOLDER_KEY.to_owned()));
    trust
        .chain(java)
        .chain(placeholders)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Whether its readers fall back to a variable that every container is given, or has itself. Then it is best left unset: they see either.
fn falls_back(variable: &TrustVariable) -> bool {
    let next = TRUST_VARIABLES
        .iter()
        .find(|other| Some(other.name) == variable.falls_back_to);
    next.is_some_and(|next| !falls_back(next))
}

fn file(variable: &TrustVariable) -> String {
    let key = if variable.adds { ROOT_KEY } else { BUNDLE_KEY };
    format!("{TRUST_DIRECTORY}/{key}")
}

fn java_options() -> String {
    java::options(&format!("{TRUST_DIRECTORY}/{JAVA_KEY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_hidden_from_no_reader() {
        let variables = for_env_from([Provider::OpenAi]);
        let names: Vec<&str> = variables.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "DENO_CERT",
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                "JAVA_TOOL_OPTIONS",
                "JDK_JAVA_OPTIONS",
                "NODE_EXTRA_CA_CERTS",
                "OPENAI_API_KEY",
                "REQUESTS_CA_BUNDLE",
                "SSL_CERT_FILE",
            ],
            "curl reads SSL_CERT_FILE then, and botocore REQUESTS_CA_BUNDLE, whoever has set it"
        );
        assert_eq!(variables["SSL_CERT_FILE"], "/etc/weir/trust/ca-bundle.crt");
        assert_eq!(variables["NODE_EXTRA_CA_CERTS"], "/etc/weir/trust/root.crt");
    }
}
