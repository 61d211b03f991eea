//! Configurations whose provider is the test's own server.

use crate::world::{World, configuration};

/// OpenAI and Anthropic as in [`configuration::standard`], but sent to the test's own server at `free.example`.
pub fn scripted(world: &World) -> String {
    configuration::standard(world).replace("host: provider.example", "host: free.example")
}

/// A backend of OpenAI's for which everything but provider and name is given: the lines of `spec`, in flow style.
pub fn openai(spec: &[&str]) -> String {
    let lines: String = spec.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AIBackend
metadata: {{name: openai}}
spec:
  provider: {{openai: {{}}}}
{lines}"
    )
}

/// A Secret of that name with one field.
pub fn secret(name: &str, field: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{field}: \"{value}\"}}\n---\n"
    )
}
