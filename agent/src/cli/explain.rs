//! `weir explain`: what becomes of a pod's connections, and why. Asks the agent of this node.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{FAILED, Output};
use crate::inspection::{self, AskError, Explanation, Question, State};

/// The agent does not know the pod.
const NOT_HERE: u8 = 1;

/// Options of `weir explain`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    about: About,
}

#[derive(clap::Subcommand, Debug)]
enum About {
    /// A pod of this node: captured, observed, untrusted or bypassed, and why. To be run in the node's agent: kubectl exec.
    Pod(Pod),
}

#[derive(clap::Args, Debug)]
struct Pod {
    /// The pod, as NAMESPACE/NAME.
    #[arg(value_name = "NAMESPACE/NAME", value_parser = pod_name)]
    pod: (String, String),

    /// How it is told.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    /// The folder of the node's agents.
    #[arg(long, value_name = "DIR", default_value = "/run/weir")]
    run_root: PathBuf,
}

fn pod_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, pod)) if !namespace.is_empty() && !pod.is_empty() && !pod.contains('/') => {
            Ok((namespace.to_owned(), pod.to_owned()))
        }
        _ => Err("write the pod as NAMESPACE/NAME, such as shop/till-0".to_owned()),
    }
}

/// Asks, and says what it was told. Status 1: the pod is not known on this node.
pub(super) fn main(arguments: Arguments) -> ExitCode {
    let About::Pod(pod) = arguments.about;
    match explain(&pod) {
        Ok(explanation) => {
            let known = !matches!(explanation.state, State::Elsewhere | State::Unknown);
            if known { ExitCode::SUCCESS } else { NOT_HERE.into() }
        }
        Err(error) => {
            tracing::error!("{error}");
            FAILED.into()
        }
    }
}

fn explain(pod: &Pod) -> Result<Explanation, AskError> {
    let (namespace, name) = pod.pod.clone();
    let question = Question::Pod { namespace, pod: name };
    let explanation: Explanation = inspection::ask(&pod.run_root, &question)?;
    let text = match pod.output {
        Output::Text => explanation.to_string(),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&explanation)?),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(explanation)
}

#[cfg(test)]
mod tests {
    use super::pod_name;

    #[test]
    fn a_pod_has_a_namespace_and_a_name() {
        assert_eq!(
            pod_name("shop/till-0"),
            Ok(("shop".to_owned(), "till-0".to_owned()))
        );
        for text in ["", "till", "/till", "shop/", "shop/pods/till"] {
            assert!(pod_name(text).is_err(), "{text}");
        }
    }
}
