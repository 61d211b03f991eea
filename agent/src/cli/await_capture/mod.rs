//! `weir await-capture`: an init container's proof that its pod is captured, by a connection through the capture; and, for `helm test`, that all
//! of Weir works for its pod.

mod call;
mod intercepted;
mod verdict;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::ROOT_IN_PODS;
use super::run::Fail;
use crate::downstream::captured;

/// For one attempt: captured, it takes milliseconds; uncaptured, nobody answers.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between attempts that were refused at once.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is said what is waited for.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// Longer answers are not ours: a host takes some 400 bytes of it at most.
const LONGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// Options of `weir await-capture`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pod's failure policy: with `open` it goes on uncaptured after the limit, with `closed` it waits for ever.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "open")]
    fail: Fail,

    /// Fail unless the pod is intercepted within the limit: captured, given Weir's root to trust, and answered by the provider of each backend that
    /// puts its key in for it. What `helm test` runs.
    #[arg(long, conflicts_with = "fail")]
    intercepted: bool,

    /// How long to wait under `--fail open` and `--intercepted`, such as 30s or 2m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = weir_api::duration)]
    limit: Duration,

    /// The address that is dialled; nobody answers there but Weir.
    #[arg(long, value_name = "ADDR", default_value = captured::ADDRESS, hide = true)]
    address: SocketAddr,

    /// Where the webhook puts Weir's root.
    #[arg(long, value_name = "FILE", default_value = ROOT_IN_PODS, hide = true)]
    root: PathBuf,
}

/// Waits, and says what it found.
pub(super) fn main(arguments: &Arguments) -> ExitCode {
    if !arguments.intercepted {
        return init_container(arguments);
    }
    match intercepted::prove_chain(arguments.address, &arguments.root, arguments.limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn init_container(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let mut told = begun;
    loop {
        let why = match introduction(arguments.address) {
            Ok(introduction) => {
                tracing::info!("{introduction}");
                return ExitCode::SUCCESS;
            }
            Err(error) => error,
        };
        if matches!(arguments.fail, Fail::Open) && begun.elapsed() >= arguments.limit {
            tracing::warn!(
                "not captured after {} s ({why}); --fail open: going on without Weir, so calls that count on its keys will fail",
                arguments.limit.as_secs()
            );
            return ExitCode::SUCCESS;
        }
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            tracing::info!(
                "waiting for Weir's agent on this node to capture this pod ({why}); is the weir-agent pod of this node ready? \
                 `kubectl get pods -A -o wide -l app.kubernetes.io/component=agent` shows it"
            );
        }
        std::thread::sleep(PAUSE);
    }
}

/// What the agent says of this pod.
fn introduction(address: SocketAddr) -> io::Result<String> {
    ask(address, captured::INTRODUCTION).and_then(|line| match captured::is_introduction(&line) {
        true => Ok(line),
        false => Err(somebody_else()),
    })
}

/// The line that the agent answers with.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        captured::HOST
    )?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    let is_ours = answer.starts_with("HTTP/1.1 200 ");
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.trim_end().to_owned())
        .filter(|_| is_ours)
        .ok_or_else(somebody_else)
}

fn somebody_else() -> io::Error {
    io::Error::other("somebody else answered")
}
