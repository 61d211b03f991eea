//! `weir agent`: captures the pods of one node, as the controller says.

mod pods;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::RootCertStore;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::pods::{CapturedPods, Shared};
use super::FAILED;
use super::run::network;
use crate::capture::pods::PodWatch;
use crate::capture::{CaptureSettings, NodeCapture};
use crate::downstream::Terminator;
use crate::lifecycle::{Readiness, ReadinessToken};
use crate::policy::controller::{AgentReport, ControllerSettings, ControllerSource};
use crate::telemetry::{AccessLog, MetricsServer, Telemetry};
use crate::trust::{self, Leaves};
use crate::upstream::{PublicRoots, SocketMaker, Upstream, UpstreamTls};

/// How long open connections may take to end after SIGTERM. Kubernetes' own limit is `terminationGracePeriodSeconds`.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// How soon pods that could not be enrolled are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

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
        None => remove(&arguments.bpf_root),
        Some(controller) => serve(&arguments, controller.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            FAILED.into()
        }
    }
}

fn remove(bpf_root: &Path) -> Result<(), Failure> {
    if NodeCapture::remove_all(bpf_root)? {
        tracing::info!("all pods of this node are released, and nothing is pinned any more");
    } else {
        tracing::info!("nothing was pinned on this node");
    }
    Ok(())
}

fn serve(arguments: &Arguments, controller: ControllerSettings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(arguments, controller));
    // What is still open is dropped, and settles by it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let telemetry = outcome?;
    telemetry.close()?;
    Ok(())
}

async fn run(arguments: &Arguments, controller: ControllerSettings) -> Result<Telemetry, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let readiness = Readiness::default();
    let programs_loaded = readiness.token("the kernel programs");
    let waiting = Waiting {
        configured: Some(readiness.token("the controller's configuration")),
        enrolled: Some(readiness.token("this node's pods")),
    };
    let telemetry = Telemetry::new(arguments.access_log.as_deref().map(AccessLog::open).transpose()?);
    let stop = CancellationToken::new();
    let server = MetricsServer::bind(arguments.metrics)
        .await?
        .with_readiness(readiness);
    tracing::info!("metrics at http://{}/metrics", server.local_address());
    let metrics = tokio::spawn(server.run(telemetry.clone(), stop.clone().cancelled_owned()));

    let roots = roots(arguments.upstream_ca.as_deref())?;
    let settings = CaptureSettings {
        exclude: arguments.exclude_cidr.clone(),
        ..CaptureSettings::default()
    };
    let capture = NodeCapture::start(&settings, &arguments.bpf_root)?;
    drop(programs_loaded);
    let pods = PodWatch::start(arguments.cgroup_root.as_deref(), &arguments.proc)?;
    let node = controller.node.clone();
    let (reports, reported) = watch::channel(AgentReport::default());
    let controller = ControllerSource::start(controller, reported);
    let shared = Arc::new(Shared {
        node,
        capture,
        snapshot: controller.snapshot(),
        telemetry: telemetry.clone(),
        upstream: Arc::new(Upstream::new(UpstreamTls::new(roots))),
        terminator: Arc::new(Terminator::new(Leaves::Controller(controller.leaves()))),
        sockets: SocketMaker::start()?,
        connections: TaskTracker::new(),
    });
    let mut captured = CapturedPods::new(Arc::clone(&shared));
    tokio::select! {
        () = follow(&mut captured, &shared, &pods, &controller, &reports, waiting) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: new connections follow each pod's failure policy");
    shared.capture.withdraw();
    drop(controller);
    shared.connections.close();
    let drained = tokio::time::timeout(DRAIN_LIMIT, shared.connections.wait()).await;
    if drained.is_err() {
        let open = shared.connections.len();
        tracing::warn!(
            "{open} connections are still open after {} s",
            DRAIN_LIMIT.as_secs()
        );
    }
    if captured.is_empty() {
        // All pods have been released, as before an uninstall: nobody needs what is left.
        NodeCapture::remove_all(&arguments.bpf_root)?;
    }
    stop.cancel();
    let _ = metrics.await;
    Ok(telemetry)
}

/// The public roots, and those of `--upstream-ca`.
fn roots(file: Option<&Path>) -> Result<PublicRoots, Failure> {
    let public = trust::upstream_roots()?;
    let Some(file) = file else {
        return Ok(public);
    };
    let failed = |error: &dyn std::fmt::Display| format!("--upstream-ca {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| failed(&error))?;
    let more = trust::roots_from_pem(&pem).map_err(|error| failed(&error))?;
    let roots = public.roots.iter().chain(&more.roots).cloned().collect();
    Ok(Arc::new(RootCertStore { roots }))
}

/// What an agent becomes ready by, one after the other.
struct Waiting {
    configured: Option<ReadinessToken>,
    enrolled: Option<ReadinessToken>,
}

/// Keeps what is captured what the controller says, of the pods that are there.
async fn follow(
    captured: &mut CapturedPods,
    shared: &Shared,
    pods: &PodWatch,
    controller: &ControllerSource,
    reports: &watch::Sender<AgentReport>,
    mut waiting: Waiting,
) {
    let (mut found, mut wanted) = (pods.subscribe(), controller.workloads());
    loop {
        let here = found.borrow_and_update().clone();
        let workloads = wanted.borrow_and_update().clone();
        let mut complete = true;
        if let Some(workloads) = workloads {
            waiting.configured.take();
            complete = tokio::task::block_in_place(|| captured.reconcile(&here, &workloads));
            if waiting.enrolled.take().is_some() {
                // Only now is it known which pods an agent before us captured for nothing.
                let kept = shared.capture.keep_only(|uid| workloads.contains_key(uid));
                if let Err(error) = kept {
                    tracing::warn!("what earlier agents pinned could not be removed: {error}");
                }
            }
            let captured_pods = captured.uids();
            reports.send_if_modified(|report| {
                let differs = report.captured_pods != captured_pods;
                report.captured_pods = captured_pods;
                differs
            });
        }
        let again = async {
            match complete {
                true => std::future::pending().await,
                false => tokio::time::sleep(TRY_AGAIN).await,
            }
        };
        tokio::select! {
            changed = found.changed() => if changed.is_err() { return },
            changed = wanted.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}
