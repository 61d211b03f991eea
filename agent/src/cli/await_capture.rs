//! `weir await-capture`: an init container's proof that its pod is captured, by a connection through the capture.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::run::Fail;
use crate::downstream::captured;

/// For one attempt: captured, it takes milliseconds; uncaptured, nobody answers.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between attempts that were refused at once.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is said what is waited for.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// Longer answers are not ours.
const LONGEST_ANSWER: u64 = 4096;

/// Options of `weir await-capture`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pod's failure policy: with `open` it goes on uncaptured after the limit, with `closed` it waits for ever.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "open")]
    fail: Fail,

    /// How long to wait under `--fail open`, such as 30s or 2m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = weir_api::duration)]
    limit: Duration,

    /// The address that is dialled; nobody answers there but Weir.
    #[arg(long, value_name = "ADDR", default_value = captured::ADDRESS, hide = true)]
    address: SocketAddr,
}

/// Waits, and says what it found.
pub(super) fn main(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let mut told = begun;
    loop {
        let why = match ask(arguments.address) {
            Ok(line) => {
                tracing::info!("{line}");
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

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    write!(
        stream,
        "GET /captured HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        captured::HOST
    )?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    let is_ours = answer.starts_with("HTTP/1.1 200 ");
    answer
        .split_once("\r\n\r\n")
        .filter(|(_, body)| is_ours && body.starts_with("captured as "))
        .map(|(_, body)| body.trim_end().to_owned())
        .ok_or_else(|| io::Error::other("somebody else answered"))
}
