//! The command line: one file a subcommand.

mod agent;
mod await_capture;
mod dials;
mod doctor;
mod explain;
mod log;
mod run;

use std::process::ExitCode;

use clap::Parser;

/// Weir: a transparent interceptor for AI traffic.
#[derive(Parser, Debug)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run a command with its AI traffic intercepted.
    Run(run::Arguments),
    /// Capture the pods of a node, as the controller says: what the DaemonSet runs.
    Agent(agent::Arguments),
    /// Say what becomes of a pod's connections, and why: for `kubectl exec` in the agent of its node.
    Explain(explain::Arguments),
    /// Check what Weir needs, from the kernel up, and name the mend of what is missing.
    Doctor(doctor::Arguments),
    /// Wait until this pod is captured: what its init container runs.
    AwaitCapture(await_capture::Arguments),
}

/// How a command tells what it found.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

/// Our root as pods have it: the webhook mounts it there.
const ROOT_IN_PODS: &str = "/etc/weir/trust/root.crt";

/// Weir itself failed: as env(1), nohup(1) and their like have it.
const FAILED: u8 = 125;

/// The program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() {
                FAILED.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    log::start();
    match arguments.command {
        Command::Run(arguments) => run::main(arguments),
        Command::Agent(arguments) => agent::main(arguments),
        Command::Explain(arguments) => explain::main(arguments),
        Command::Doctor(arguments) => doctor::main(&arguments),
        Command::AwaitCapture(arguments) => await_capture::main(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn every_option_is_documented() {
        let page = include_str!("../../../docs/surface.md");
        let commands = Arguments::command();
        for command in commands.get_subcommands() {
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let Some(name) = option.get_long() else { continue };
                let documented = ["`", " ", "]"]
                    .iter()
                    .any(|end| page.contains(&format!("`--{name}{end}")));
                assert!(documented, "weir {} --{name}", command.get_name());
            }
        }
    }
}
