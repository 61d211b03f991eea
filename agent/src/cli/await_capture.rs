//! `weir await-capture`: an init container's proof that its pod is captured, by a connection through the capture; and, for `helm test`, that all
//! of Weir works for its pod.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
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
/// Longer answers are not ours.
const LONGEST_ANSWER: u64 = 4096;

/// Options of `weir await-capture`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pod's failure policy: with `open` it goes on uncaptured after the limit, with `closed` it waits for ever.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "open")]
    fail: Fail,

    /// Fail unless the pod is intercepted within the limit: captured, and given Weir's root to trust. What `helm test` runs.
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

/// Why a pod is not intercepted, and what mends it.
#[derive(thiserror::Error, Debug)]
enum NotIntercepted {
    #[error(
        "this pod was not given Weir's root to trust ({path}: {source}): the webhook did not change the pod when it was made. Is the \
         controller ready, and may the API server reach its pods at port 15017? `kubectl get pods -A -o wide -l \
         app.kubernetes.io/component=controller` and the API server's log say so. And is the namespace, or the pod, labelled \
         weir.dev/intercept=enabled?"
    )]
    NoRoot { path: String, source: io::Error },
    #[error(
        "{introduction}; it had to be intercepted. That takes the label weir.dev/intercept=enabled, on the namespace or the pod, and a pod \
         that the webhook has changed when it was made; `weir explain pod`, in the agent of this node, says what is missing"
    )]
    NotOpened { introduction: String },
    #[error(
        "not captured after {seconds} s ({why}): is the weir-agent pod of this node ready, and does it hear the controller? `kubectl get \
         pods -A -o wide -l app.kubernetes.io/component=agent` shows it, and its log says why"
    )]
    NotCaptured { seconds: u64, why: io::Error },
}

/// Waits, and says what it found.
pub(super) fn main(arguments: &Arguments) -> ExitCode {
    if !arguments.intercepted {
        return init_container(arguments);
    }
    match intercepted(arguments) {
        Ok(introduction) => {
            tracing::info!("{introduction}");
            ExitCode::SUCCESS
        }
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
        let why = match ask(arguments.address) {
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

/// What the agent says of the pod, once that is that it is intercepted.
fn intercepted(arguments: &Arguments) -> Result<String, NotIntercepted> {
    // It is mounted before any container of the pod starts: one that is not there now will not come.
    has_root(&arguments.root)?;
    let begun = Instant::now();
    loop {
        let answer = ask(arguments.address);
        if let Ok(introduction) = &answer
            && captured::is_intercepted(introduction)
        {
            return Ok(introduction.clone());
        }
        if begun.elapsed() >= arguments.limit {
            return Err(match answer {
                Ok(introduction) => NotIntercepted::NotOpened { introduction },
                Err(why) => NotIntercepted::NotCaptured {
                    seconds: arguments.limit.as_secs(),
                    why,
                },
            });
        }
        std::thread::sleep(PAUSE);
    }
}

fn has_root(path: &Path) -> Result<(), NotIntercepted> {
    let content = fs::read_to_string(path).and_then(|text| {
        let is_certificate = text.contains("-----BEGIN CERTIFICATE-----");
        is_certificate
            .then_some(())
            .ok_or_else(|| io::Error::other("no certificate in it"))
    });
    content.map_err(|source| NotIntercepted::NoRoot {
        path: path.display().to_string(),
        source,
    })
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
        .map(|(_, body)| body.trim_end().to_owned())
        .filter(|body| is_ours && captured::is_introduction(body))
        .ok_or_else(|| io::Error::other("somebody else answered"))
}
