//! `weir agent`: captures the pods of one node, as the controller says.

mod leave;
mod pods;
mod tenure;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::RootCertStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::tenure::{Beginning, Node, Over, Tenure, Waiting};
use super::FAILED;
use super::run::network;
use crate::capture::NodeCapture;
use crate::lifecycle::handover::{self, Answer, Door, Identity, Predecessor};
use crate::lifecycle::{OpenFiles, Readiness};
use crate::policy::controller::ControllerSettings;
use crate::telemetry::{AccessLog, MetricsServer, Telemetry};
use crate::trust;
use crate::upstream::PublicRoots;

/// How long open connections may take to end after SIGTERM if no other agent has taken over: Kubernetes starts none before we have ended.
const UNSUCCEEDED_DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// Options of `weir agent`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    controller: Option<Controller>,

    /// Look for pods' cgroups below this folder. Default: wherever cgroup2 is mounted.
    #[arg(long, value_name = "DIR")]
    cgroup_root: Option<PathBuf>,

    /// The bpffs in which capture is pinned, so that it outlives the agent.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpf_root: PathBuf,

    /// Where agents of this node meet, to hand its pods over, and where `weir explain` and `weir doctor` ask them. Only root may
    /// enter what is made there.
    #[arg(long, value_name = "DIR", default_value = "/run/weir")]
    run_root: PathBuf,

    /// How long open connections may take to end after SIGTERM, if another agent has taken over. Kubernetes' own limit,
    /// `terminationGracePeriodSeconds`, has to be a little longer.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = weir_api::duration)]
    drain_limit: Duration,

    /// The node's proc file system.
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    proc: PathBuf,

    /// Leave connections to these addresses alone.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    exclude_cidr: Vec<IpNet>,

    /// Certificate authorities, PEM, that providers are verified against besides the public ones.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,

    /// Serve /metrics, /healthz and /readyz there.
    #[arg(long, value_name = "ADDR", default_value = "[::]:15090")]
    metrics: SocketAddr,

    /// Write a JSON line per exchange to this file, or `-` for standard output.
    #[arg(long, value_name = "PATH|-")]
    access_log: Option<PathBuf>,

    /// Release all pods of this node, remove all that is pinned for them, and end. For a node that no agent is to run on
    /// any more.
    #[arg(long, conflicts_with = "Controller", required_unless_present = "node")]
    remove: bool,
}

/// Where the configuration comes from.
#[derive(clap::Args, Debug)]
#[group(multiple = true)]
struct Controller {
    /// The node that this agent runs on.
    #[arg(long, value_name = "NAME", required = false, requires_all = ["controller", "controller_ca", "token"])]
    node: String,

    /// The controller, as https://HOST:PORT.
    #[arg(long, value_name = "URL", required = false, requires = "node", value_parser = https)]
    controller: http::Uri,

    /// Certificate authorities of the controller, PEM. Read anew for each connection.
    #[arg(long, value_name = "FILE", required = false, requires = "node")]
    controller_ca: PathBuf,

    /// The service account token for the controller. Read anew for each connection.
    #[arg(long, value_name = "FILE", required = false, requires = "node")]
    token: PathBuf,
}

impl From<Controller> for ControllerSettings {
    fn from(controller: Controller) -> Self {
        Self {
            node: controller.node,
            address: controller.controller,
            authorities: controller.controller_ca,
            token: controller.token,
        }
    }
}

fn https(text: &str) -> Result<http::Uri, String> {
    text.parse::<http::Uri>()
        .ok()
        .filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some())
        .ok_or_else(|| "write it as https://weir-controller.weir-system.svc:15010".to_owned())
}

type Failure = Box<dyn std::error::Error>;

/// Runs until SIGTERM or SIGINT.
pub(super) fn main(mut arguments: Arguments) -> ExitCode {
    let outcome = match arguments.controller.take() {
        None => remove(&arguments),
        Some(controller) => serve(arguments, controller.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            FAILED.into()
        }
    }
}

fn remove(arguments: &Arguments) -> Result<(), Failure> {
    if leave::nothing(arguments)? {
        tracing::info!("all pods of this node are released, and nothing is pinned any more");
    } else {
        tracing::info!("nothing was pinned on this node");
    }
    Ok(())
}

fn serve(arguments: Arguments, controller: ControllerSettings) -> Result<(), Failure> {
    OpenFiles::of_this_process()?.raise()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(arguments, controller));
    // What is still open is dropped, and settles by it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let telemetry = outcome?;
    telemetry.close()?;
    Ok(())
}

async fn run(arguments: Arguments, controller: ControllerSettings) -> Result<Telemetry, Failure> {
    let mut ending = Ending::listen()?;
    let readiness = Readiness::default();
    let mut waiting = Waiting {
        loaded: Some(readiness.token("the kernel programs")),
        configured: Some(readiness.token("the controller's configuration")),
        enrolled: Some(readiness.token("this node's pods")),
    };
    let telemetry = Telemetry::new(arguments.access_log.as_deref().map(AccessLog::open).transpose()?);
    let stop = CancellationToken::new();
    let server = MetricsServer::bind(arguments.metrics)
        .await?
        .with_readiness(readiness.clone());
    tracing::info!("metrics at http://{}/metrics", server.local_address());
    let metrics = tokio::spawn(server.run(telemetry.clone(), stop.clone().cancelled_owned()));

    let node = Node {
        identity: Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pins: NodeCapture::identity(&arguments.bpf_root)?,
        },
        roots: roots(arguments.upstream_ca.as_deref())?,
        telemetry: telemetry.clone(),
        connections: TaskTracker::new(),
        readiness,
        arguments,
        controller,
    };
    let end = serve_until(&node, &mut ending, &mut waiting).await?;
    drain(&node, end).await;
    let nobody = !Door::path(&node.arguments.run_root).exists();
    if matches!(end, End::NothingToCapture) && nobody {
        // All pods have been released, as before an uninstall: nobody needs what is left.
        leave::nothing(&node.arguments)?;
    }
    stop.cancel();
    let _ = metrics.await;
    Ok(telemetry)
}

/// SIGTERM and SIGINT.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns once we are to end. Cancelled, it loses nothing.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// As what an agent ends.
#[derive(Clone, Copy)]
enum End {
    /// Another agent has the pods.
    Succeeded,
    /// Nobody has them.
    Unsucceeded,
    /// Nobody has them, and none is to be captured.
    NothingToCapture,
}

/// Has the node's pods, hands them over, stands by, until it is told to end.
async fn serve_until(node: &Node, ending: &mut Ending, waiting: &mut Waiting) -> Result<End, Failure> {
    let mut inheritance = None;
    loop {
        let beginning = tokio::select! {
            predecessor = predecessor(node, waiting) => match predecessor {
                Some(predecessor) => Beginning::Beside(predecessor),
                None => Beginning::Alone(inheritance.take()),
            },
            () = ending.told() => return Ok(End::Unsucceeded),
        };
        let mut tenure = Tenure::begin(node, beginning, waiting)?;
        let over = tokio::select! {
            over = tenure.serve(waiting) => over?,
            () = ending.told() => {
                return Ok(match tenure.end() {
                    true => End::NothingToCapture,
                    false => End::Unsucceeded,
                });
            }
        };
        drop(tenure);
        if let Over::HandedOver(mut successor, own) = over {
            // Until we are told to end: an agent of its own accord would be started again.
            tokio::select! {
                () = successor.gone() => tracing::warn!("the agent that took over is gone: taking the pods back"),
                () = ending.told() => return Ok(End::Succeeded),
            }
            // Without a configuration nobody would accept there: then what is pinned, and the failure policy, are better.
            inheritance = Some(own).filter(|own| own.configuration.is_some());
        }
    }
}

/// Who hands the pods over; waits for the end of one that has them and does not.
async fn predecessor(node: &Node, waiting: &mut Waiting) -> Option<Predecessor> {
    loop {
        match handover::ask(&Door::path(&node.arguments.run_root), &node.identity).await {
            Answer::Nobody => return None,
            Answer::Welcome(predecessor) => return Some(predecessor),
            Answer::Refused(why, mut other) => {
                tracing::warn!(
                    "no handover: {why}; starting when the agent that has this node's pods has ended"
                );
                // Kubernetes ends it once we are ready.
                waiting.over();
                other.gone().await;
            }
        }
    }
}

/// Waits for open connections to end.
async fn drain(node: &Node, end: End) {
    let limit = match end {
        End::Succeeded => node.arguments.drain_limit,
        // Whoever comes next waits for our end.
        End::Unsucceeded | End::NothingToCapture => node.arguments.drain_limit.min(UNSUCCEEDED_DRAIN_LIMIT),
    };
    node.connections.close();
    let drained = tokio::time::timeout(limit, node.connections.wait()).await;
    if drained.is_err() {
        let open = node.connections.len();
        tracing::warn!("{open} connections are still open after {} s", limit.as_secs());
    }
}

/// The public roots, and those of `--upstream-ca`.
fn roots(file: Option<&Path>) -> Result<PublicRoots, Failure> {
    let public = trust::upstream_roots()?;
    let Some(file) = file else {
        return Ok(public);
    };
    let failed = |error: &dyn std::fmt::Display| format!("--upstream-ca {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| failed(&error))?;
    let (more, _) = trust::roots_from_pem(&pem).map_err(|error| failed(&error))?;
    let roots = public.roots.iter().chain(&more.roots).cloned().collect();
    Ok(Arc::new(RootCertStore { roots }))
}
