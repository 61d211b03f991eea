//! `weir run`: one command and all its descendants, captured.

mod agent;
mod child;
mod signals;
mod user;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use ipnet::IpNet;

use super::FAILED;
use crate::capture::FailurePolicy;
use crate::lifecycle::OpenFiles;
use agent::Agent;
use child::Start;
use signals::BlockedSignals;
use user::RunAs;

/// The ports that AI providers are called on.
const CAPTURED_PORTS: [u16; 2] = [80, 443];

/// Options of `weir run`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Configuration: Kubernetes YAML with AIBackend, AIPolicy, Secret and ConfigMap objects. Watched while the command runs.
    /// Without a file, the well-known providers' traffic is reported and the command's own keys pass through.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write a JSON line per exchange to this file, or `-` for standard output.
    #[arg(long, value_name = "PATH|-")]
    access_log: Option<PathBuf>,

    /// Serve Prometheus metrics at http://ADDR/metrics.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,

    /// Where the local root certificate and its key are kept.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/weir")]
    state_dir: PathBuf,

    /// Run the command as this user. Under sudo: the user who called it.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// What becomes of new connections when Weir is gone or hangs [default: what an AIPolicy says as Weir starts, else open].
    #[arg(long, value_name = "POLICY", value_enum)]
    fail: Option<Fail>,

    /// Leave connections to these addresses alone.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    exclude_cidr: Vec<IpNet>,

    /// Leave connections to this port alone (80 and 443 are captured).
    #[arg(long, value_name = "PORT")]
    exclude_port: Vec<u16>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy)]
pub(super) enum Fail {
    /// They go straight to where the command dials.
    Open,
    /// They are refused.
    Closed,
}

impl From<Fail> for FailurePolicy {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Open => Self::Open,
            Fail::Closed => Self::Closed,
        }
    }
}

/// Runs the command; its exit status is ours.
pub(super) fn main(arguments: Arguments) -> ExitCode {
    match run(&arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            tracing::error!("{error}");
            FAILED.into()
        }
    }
}

/// A network, or one address. Destinations are looked up in their own family, so that networks of IPv4 addresses mapped
/// into IPv6 (`::ffff:10.0.0.0/104`) become those of IPv4.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text
        .parse()
        .or_else(|_| address())
        .map_err(|_| "write a network as 10.0.0.0/8 or 2001:db8::/32".to_owned())?;
    let IpAddr::V6(address) = network.addr() else {
        return Ok(network);
    };
    let Some(address) = address.to_ipv4_mapped() else {
        return Ok(network);
    };
    network
        .prefix_len()
        .checked_sub(96)
        .and_then(|prefix| IpNet::new(address.into(), prefix).ok())
        .ok_or_else(|| {
            format!("the first 96 bits of it are no IPv4 address; write {address} with its own prefix")
        })
}

type Failure = Box<dyn std::error::Error>;

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    // Before any thread is there, for each inherits the signal mask.
    let signals = BlockedSignals::block()?;
    let open_files = OpenFiles::of_this_process()?;
    open_files.raise()?;
    let run_as = RunAs::find(arguments.user.as_deref(), |name| std::env::var(name).ok())?;
    let agent = {
        // It may wait for another run's locks, or for who reads a named pipe.
        let _ended_by_signals = signals.let_through()?;
        Agent::start(arguments, &run_as)?
    };

    let mut environment = agent.environment();
    if let Some(change) = &run_as.change {
        environment.extend(change.environment(&run_as.name));
    }
    let start = Start {
        command: &arguments.command,
        withheld: agent.withheld_variables(),
        environment,
        become_user: run_as.change,
        cgroup: agent.cgroup(),
        blocked: signals.inherited(),
        open_files,
    };
    let code = match start.spawn() {
        Ok(mut child) => agent.runtime().block_on(async {
            let watched = signals.watch()?;
            wait::for_command(&mut child, agent.cgroup(), &watched).await
        })?,
        Err(error) => cannot_start(&arguments.command[0], &error),
    };
    // What came until here was for the command: a second Ctrl-C must not cost the table.
    signals.discard();
    let table = agent.finish(&signals);
    // Where stderr is gone there is nobody to read it.
    let _ = std::io::stderr().write_all(table.as_bytes());
    Ok(code)
}

/// 126 and 127, as in env(1).
fn cannot_start(program: &OsString, error: &std::io::Error) -> u8 {
    let program = program.to_string_lossy();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            tracing::error!("{program}: command not found");
            127
        }
        std::io::ErrorKind::PermissionDenied => {
            tracing::error!("{program}: permission denied; is it executable by the user that it runs as?");
            126
        }
        _ => {
            tracing::error!("{program}: {error}");
            126
        }
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_mapped_network_is_one_of_ipv4() {
        for (text, understood) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("203.0.113.5", "203.0.113.5/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:203.0.113.5", "203.0.113.5/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            // More than mapped addresses.
            ("::/0", "::/0"),
        ] {
            assert_eq!(
                network(text).map(|network| network.to_string()),
                Ok(understood.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for text in ["", "api.openai.com", "10.0.0.0/33", "::ffff:10.0.0.0/129"] {
            let error = network(text).expect_err("no network");
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
        let error = network("::ffff:10.0.0.0/8").expect_err("its prefix is that of IPv4");
        assert!(error.contains("write 10.0.0.0 with its own prefix"), "{error}");
    }
}
