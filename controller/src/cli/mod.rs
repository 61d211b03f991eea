//! The command line, and how the rooms are put together.

mod log;
mod wiring;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir_api::{FailurePolicy, Sharing};

use crate::retire::job;
use crate::watch::exempt::Exempt;

/// The controller of Weir: tells each node's agent what its pods may use.
#[derive(Parser, Debug)]
#[command(name = "weir-controller", version)]
struct CommandLine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Serves agents, the API server's questions, and metrics, until it is told to end.
    Serve(Box<Arguments>),
    /// Has all agents release their pods, and waits until they have: before the release is deleted.
    Retire(job::Arguments),
}

/// Options of `weir-controller serve`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The namespace that the controller and the agents are in.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    namespace: String,
    /// What this replica is called: its pod's name.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    replica: String,
    /// Where agents are served.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:15010")]
    discovery: SocketAddr,
    /// Where the API server is served.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:15017")]
    webhook: SocketAddr,
    /// Where health and metrics are served, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:15014")]
    metrics: SocketAddr,
    /// The roots that pods trust besides ours.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    public_roots: PathBuf,
    /// More of these, such as those of a company's own services. Read at the start.
    #[arg(long, value_name = "FILE")]
    additional_roots: Option<PathBuf>,
    /// The image that pods run `weir await-capture` from.
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Its pull policy.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// How long a pod waits until it is captured, where its failure policy lets it start after all.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration_text)]
    capture_limit: String,
    /// What becomes of workloads' connections while their node's agent is away, where no AIPolicy says so.
    #[arg(long, value_name = "open|closed", default_value = "open")]
    fail: FailurePolicy,
    /// A namespace whose backends may say `allowedNamespaces: {from: All}`, besides Weir's own; may be given more than once. `*`: those of all.
    #[arg(long = "sharing-namespace", value_name = "NAME|*")]
    sharing_namespaces: Vec<String>,
    /// A namespace whose pods are left alone, whatever labels say; may be given more than once. Weir's own always is.
    #[arg(long = "excluded-namespace", value_name = "NAME")]
    excluded_namespaces: Vec<String>,
}

impl Arguments {
    fn exempt(&self) -> Exempt {
        Exempt::new(&self.namespace, self.excluded_namespaces.iter().cloned())
    }

    fn sharing(&self) -> Sharing {
        if self.sharing_namespaces.iter().any(|name| name == "*") {
            return Sharing::Any;
        }
        let own = std::iter::once(&self.namespace);
        Sharing::Only(own.chain(&self.sharing_namespaces).cloned().collect())
    }
}

/// It goes into pods as it stands here: what is wrong with it has to show here, not there.
fn duration_text(text: &str) -> Result<String, &'static str> {
    weir_api::duration(text).map(|_| text.to_owned())
}

/// The program.
pub fn main() -> ExitCode {
    let CommandLine { action } = CommandLine::parse();
    log::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match action {
        Action::Serve(arguments) => match runtime.block_on(wiring::run(*arguments)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        },
        Action::Retire(arguments) => match runtime.block_on(wiring::retire(&arguments)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // It is what helm shows. Where standard error is closed nobody can be told.
                let _ = writeln!(std::io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::CommandLine;

    #[test]
    fn every_option_is_documented() {
        let page = include_str!("../../../docs/surface.md");
        let commands = CommandLine::command();
        for command in commands.get_subcommands() {
            for option in command.get_arguments() {
                let Some(name) = option.get_long() else { continue };
                let documented = ["`", " "]
                    .iter()
                    .any(|end| page.contains(&format!("`--{name}{end}")));
                assert!(documented, "weir-controller {} --{name}", command.get_name());
            }
        }
    }

    #[test]
    fn what_pods_are_given_is_checked_here() {
        let refused = |option: &str, value: &str| {
            let options = [
                "weir-controller",
                "serve",
                "--namespace=w",
                "--replica=r",
                "--image=i",
                option,
                value,
            ];
            CommandLine::command().try_get_matches_from(options).is_err()
        };
        assert!(!refused("--capture-limit", "1m30s"));
        assert!(refused("--capture-limit", "soon"));
        assert!(!refused("--image-pull-policy", "Never"));
        assert!(refused("--image-pull-policy", "never"));
    }
}
