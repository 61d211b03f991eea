//! Hosts that are known to serve models, whether or not Weir knows their provider.

use crate::Provider;

/// Hosts of services beside those that [`Provider`] has, in order. A `*` stands for whatever one region or customer puts there.
/// From the services' own API references; a host belongs here if it serves models and nothing else.
const OTHERS: [&str; 38] = [
    "*-aiplatform.googleapis.com", // Vertex AI by region
    "*.api.openai.com",            // data residency by region
    "*.inference.ai.azure.com",
    "*.models.ai.azure.com",
    "*.openai.azure.com",
    "*.services.ai.azure.com",
    "ai-gateway.vercel.sh",
    "aiplatform.googleapis.com",
    "api-inference.huggingface.co",
    "api.*.githubcopilot.com",
    "api.ai21.com",
    "api.cerebras.ai",
    "api.cohere.ai",
    "api.cohere.com",
    "api.deepinfra.com",
    "api.fireworks.ai",
    "api.githubcopilot.com",
    "api.hyperbolic.xyz",
    "api.lambda.ai",
    "api.minimax.io",
    "api.moonshot.ai",
    "api.moonshot.cn",
    "api.novita.ai",
    "api.perplexity.ai",
    "api.replicate.com",
    "api.sambanova.ai",
    "api.studio.nebius.ai",
    "api.together.xyz",
    "api.voyageai.com",
    "bedrock-runtime-fips.*.amazonaws.com",
    "bedrock-runtime.*.amazonaws.com",
    "codestral.mistral.ai",
    "dashscope.aliyuncs.com",
    "generativelanguage.googleapis.com",
    "integrate.api.nvidia.com",
    "models.github.ai",
    "router.huggingface.co",
    "us.inference.heroku.com",
];

/// The entry of the list that `host` (lower-case, without a port) matches, such as `bedrock-runtime.*.amazonaws.com`: a name that
/// may stand in a label, for there are only so many. `None`: not known to serve models.
pub fn known_ai_host(host: &str) -> Option<&'static str> {
    let of_providers = Provider::ALL.iter().flat_map(|provider| provider.hosts());
    of_providers
        .chain(&OTHERS)
        .copied()
        .find(|known| matches(known, host))
}

fn matches(known: &str, host: &str) -> bool {
    match known.split_once('*') {
        None => known == host,
        Some((before, after)) => {
            host.len() > before.len() + after.len() && host.starts_with(before) && host.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{OTHERS, known_ai_host};
    use crate::Provider;

    #[test]
    fn every_host_of_every_provider_is_known() {
        for host in Provider::ALL.iter().flat_map(|provider| provider.hosts()) {
            assert_eq!(known_ai_host(host), Some(*host));
        }
    }

    #[test]
    fn a_region_or_a_customer_has_the_entry_of_all() {
        for (host, entry) in [
            (
                "bedrock-runtime.us-east-1.amazonaws.com",
                Some("bedrock-runtime.*.amazonaws.com"),
            ),
            ("acme.openai.azure.com", Some("*.openai.azure.com")),
            (
                "europe-west4-aiplatform.googleapis.com",
                Some("*-aiplatform.googleapis.com"),
            ),
            (
                "generativelanguage.googleapis.com",
                Some("generativelanguage.googleapis.com"),
            ),
            (".openai.azure.com", None),
            ("bedrock-runtime.amazonaws.com", None),
            ("api.openai.com.example", None),
            ("openai.com", None),
            ("storage.googleapis.com", None),
            ("", None),
        ] {
            assert_eq!(known_ai_host(host), entry, "{host}");
        }
    }

    #[test]
    fn the_list_is_in_order_lower_case_and_has_nobody_twice() {
        assert!(OTHERS.is_sorted_by(|one, next| one < next));
        for entry in OTHERS {
            assert_eq!(entry, entry.to_lowercase());
            assert!(entry.matches('*').count() <= 1);
            assert!(
                !Provider::ALL
                    .iter()
                    .any(|provider| provider.hosts().contains(&entry))
            );
        }
    }
}
