//! `weir doctor`: checks what Weir needs, from the kernel up, and names the mend of what is missing.

mod clock;
mod common;
mod machine;
mod node;
mod token;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{FAILED, Output};

/// Something is not as it should be.
const UNWELL: u8 = 1;

/// Options of `weir doctor`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What is checked: the node of an agent, or this machine for `weir run`. By default the former in a pod, else the latter.
    #[arg(long = "for", value_name = "WHAT", value_enum)]
    patient: Option<Patient>,

    /// How it is told.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    /// The folder of the node's agents.
    #[arg(long, value_name = "DIR", default_value = "/run/weir")]
    run_root: PathBuf,

    /// The state directory of `weir run`.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/weir")]
    state_dir: PathBuf,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Patient {
    /// A node of Kubernetes, in its agent's container.
    Agent,
    /// This machine, for `weir run`.
    Run,
}

impl Patient {
    /// kubelet tells every container where the API server is.
    fn of_surroundings() -> Self {
        match std::env::var_os("KUBERNETES_SERVICE_HOST") {
            Some(_) => Self::Agent,
            None => Self::Run,
        }
    }
}

/// One check: what was found, or what is wrong and the mend.
#[derive(Debug)]
struct Check {
    name: &'static str,
    outcome: Result<String, String>,
}

impl Check {
    fn new(name: &'static str, outcome: Result<String, impl ToString>) -> Self {
        let outcome = outcome.map_err(|error| error.to_string());
        Self { name, outcome }
    }
}

/// What goes out as JSON.
#[derive(Serialize)]
struct Told<'a> {
    check: &'a str,
    ok: bool,
    says: &'a str,
}

/// Checks, and tells. Status 1: something is not as it should be.
pub(super) fn main(arguments: &Arguments) -> ExitCode {
    let patient = arguments.patient.unwrap_or_else(Patient::of_surroundings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let checks = match (runtime, patient) {
        (Ok(runtime), Patient::Agent) => runtime.block_on(node::examine(&arguments.run_root)),
        (Ok(runtime), Patient::Run) => {
            let _inside = runtime.enter();
            machine::examine(&arguments.state_dir)
        }
        (Err(error), _) => vec![Check::new(
            "threads",
            Err(format!("{error}; raise the limit of processes")),
        )],
    };
    let told = match arguments.output {
        Output::Text => text(&checks),
        Output::Json => json(&checks),
    };
    if let Err(error) = std::io::stdout().write_all(told.as_bytes()) {
        tracing::error!("{error}");
        return FAILED.into();
    }
    match checks.iter().all(|check| check.outcome.is_ok()) {
        true => ExitCode::SUCCESS,
        false => UNWELL.into(),
    }
}

/// A line a check, and the sum.
fn text(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let (verdict, says) = match &check.outcome {
            Ok(says) => ("ok", says),
            Err(says) => ("FAILED", says),
        };
        format!("{verdict:<7} {}: {}\n", check.name, says.replace('\n', " "))
    };
    let failed = checks.iter().filter(|check| check.outcome.is_err()).count();
    let lines: String = checks.iter().map(line).collect();
    format!("{lines}{} checks, {failed} failed\n", checks.len())
}

fn json(checks: &[Check]) -> String {
    let told: Vec<Told<'_>> = checks
        .iter()
        .map(|check| match &check.outcome {
            Ok(says) => (check.name, true, says),
            Err(says) => (check.name, false, says),
        })
        .map(|(check, ok, says)| Told { check, ok, says })
        .collect();
    format!("{}\n", serde_json::to_string_pretty(&told).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Check, json, text};

    fn checks() -> [Check; 2] {
        [
            Check::new("linux", Ok::<_, String>("6.18.1".to_owned())),
            Check::new("bpffs", Err("none is mounted:\nmount one")),
        ]
    }

    #[test]
    fn each_check_is_a_line() {
        let wanted = "ok      linux: 6.18.1\nFAILED  bpffs: none is mounted: mount one\n2 checks, 1 failed\n";
        assert_eq!(text(&checks()), wanted);
    }

    #[test]
    fn programs_are_told_the_same() {
        let told: serde_json::Value = serde_json::from_str(&json(&checks())).expect("JSON");
        assert_eq!(told[0]["ok"], true);
        assert_eq!(told[1]["check"], "bpffs");
        assert_eq!(told[1]["says"], "none is mounted:\nmount one");
    }
}
