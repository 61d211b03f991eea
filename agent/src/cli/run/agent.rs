//! The agent of one run: everything that serves the command, started and ended together.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use weir_ai::Provider;
use weir_api::{Auth, Backend, Snapshot};

use super::super::dials;
use super::signals::BlockedSignals;
use super::user::RunAs;
use super::{Arguments, CAPTURED_PORTS, Fail, Failure};
use crate::capture::{Capture, CaptureSettings, Cgroup, FailurePolicy, Run, RunDirectory, preflight};
use crate::downstream::{Downstream, Terminator};
use crate::exchange::Services;
use crate::policy::{FileSource, SnapshotHandle};
use crate::telemetry::record::Workload;
use crate::telemetry::{AccessLog, MetricsServer, Telemetry};
use crate::trust::{self, Leaves, LocalAuthority, TrustFiles};
use crate::upstream::{Dialler, Upstream, UpstreamTls};

/// How long connections may take to end once every process that opened them has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// The namespace of what is captured by `weir run`.
const NAMESPACE: &str = "default";

/// What runs beside the command.
pub(super) struct Agent {
    runtime: Runtime,
    run: Run,
    trust_files: TrustFiles,
    snapshot: SnapshotHandle,
    /// Watches the files for as long as it lives.
    source: Option<FileSource>,
    telemetry: Telemetry,
    stop: CancellationToken,
    /// Nobody waits any more for what is still open after `stop`.
    hurry: CancellationToken,
    serving: JoinHandle<()>,
}

impl Agent {
    /// Starts everything; a command put into the cgroup from here on is captured.
    pub(super) fn start(arguments: &Arguments, run_as: &RunAs) -> Result<Self, Failure> {
        preflight::check()?;
        if run_as.change.is_some() {
            preflight::check_change_of_user()?;
        }
        let authority = Arc::new(LocalAuthority::open(&arguments.state_dir)?);
        let trust_files = TrustFiles::write(&arguments.state_dir, &authority, |name| std::env::var_os(name))?;
        if let Some(user) = &run_as.change
            && let Some(directory) = trust_files.unreachable_for(user.uid.as_raw(), user.gid.as_raw())
        {
            let name = &run_as.name;
            return Err(format!(
                "{}: {name} may not enter it, and so could not read whom to trust; choose another --state-dir, or let \
                 {name} in (chmod o+x)",
                directory.display()
            )
            .into());
        }
        let source = match arguments.files.as_slice() {
            [] => None,
            files => Some(FileSource::start(files)?),
        };
        let snapshot = match &source {
            Some(source) => source.handle(),
            None => SnapshotHandle::new(Snapshot::zero_configuration()),
        };
        let telemetry = Telemetry::new(arguments.access_log.as_deref().map(AccessLog::open).transpose()?);
        let workload = Workload {
            uid: None,
            namespace: NAMESPACE.to_owned(),
            pod: None,
            service_account: run_as.name.clone(),
        };
        snapshot.load().backends().iter().for_each(warn_of_others);
        let on_failure = on_failure(arguments.fail, &snapshot.load(), &workload);
        let services = Services {
            workload: Arc::new(workload),
            snapshot: snapshot.clone(),
            telemetry: telemetry.clone(),
            upstream: Arc::new(Upstream::new(UpstreamTls::new(trust::upstream_roots()?))),
            dialler: Dialler::own(),
        };
        let terminator = Arc::new(Terminator::new(Leaves::Local(Arc::clone(&authority))));
        let root = authority.certificate_path();
        let downstream = Arc::new(Downstream::new(Arc::new(services), terminator, root));

        let runs = RunDirectory::open(RunDirectory::DEFAULT)?;
        sweep(&runs);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        if let Some(address) = arguments.metrics {
            let server = runtime.block_on(MetricsServer::bind(address))?;
            tracing::info!("metrics at http://{}/metrics", server.local_address());
            runtime.spawn(server.run(telemetry.clone(), stop.clone().cancelled_owned()));
        }
        let run = runs.begin()?;
        let capture = {
            let _context = runtime.enter();
            Capture::start(&capture_settings(arguments, on_failure), run.cgroup())
        };
        let capture = match capture {
            Ok(capture) => capture,
            Err(error) => {
                end(run);
                return Err(error.into());
            }
        };
        telemetry.report_dials(Some(dials::counter(capture.counters())));
        let hurry = CancellationToken::new();
        let serving = runtime.spawn(serve(capture, downstream, stop.clone(), hurry.clone()));
        Ok(Self {
            runtime,
            run,
            trust_files,
            snapshot,
            source,
            telemetry,
            stop,
            hurry,
            serving,
        })
    }

    /// The cgroup whose processes are captured.
    pub(super) fn cgroup(&self) -> &Cgroup {
        self.run.cgroup()
    }

    /// What serves the command, to wait on beside it.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The variables that make the command trust Weir, and its SDKs start without a key.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let snapshot = self.snapshot.load();
        let with_credential: Vec<Provider> = snapshot
            .backends()
            .iter()
            // A placeholder for a host that is relayed would leave this machine.
            .filter(|backend| backend.allowed_namespaces.contains(NAMESPACE))
            .filter(|backend| !matches!(backend.auth, Auth::Passthrough))
            .map(|backend| backend.provider)
            .collect();
        let withheld = self.withheld_variables();
        trust::child_environment(&self.trust_files, with_credential, |name| {
            std::env::var_os(name).filter(|_| !withheld.contains(name))
        })
    }

    /// The variables that the command does not inherit: the configuration takes keys from them, and the command needs none.
    pub(super) fn withheld_variables(&self) -> BTreeSet<String> {
        self.source
            .as_ref()
            .map(FileSource::variables)
            .unwrap_or_default()
    }

    /// Ends everything, the last exchange settled, and says what there was. What goes wrong here is told and no more:
    /// the command has ended, and its status and the table are owed to the user.
    ///
    /// Connections may take [`DRAIN_LIMIT`] to end; a signal ends them at once, and costs neither status nor table. The access log
    /// may take as long as its reader does, so a signal ends Weir there, when nothing of it is left in the kernel.
    pub(super) fn finish(self, signals: &BlockedSignals) -> String {
        self.stop.cancel();
        let mut serving = self.serving;
        let served = self.runtime.block_on(async {
            tokio::select! {
                served = &mut serving => return served,
                asked = signals.asked_to_end() => if let Err(error) = asked {
                    tracing::warn!("signals cannot be heeded: {error}");
                } else {
                    self.hurry.cancel();
                },
            }
            serving.await
        });
        if let Err(error) = served {
            tracing::error!("serving the command broke off: {error}");
        }
        // What is still under way, such as a switched protocol, is dropped here, and settles by it.
        self.runtime.shutdown_timeout(DRAIN_LIMIT);
        end(self.run);
        let ended_by_signals = signals.let_through();
        if let Err(error) = &ended_by_signals {
            tracing::warn!("signals cannot be heeded any more: {error}");
        }
        if let Err(error) = self.telemetry.close() {
            tracing::error!("{error}");
        }
        self.telemetry.table()
    }
}

/// A backend that the command may not use: its calls would be relayed, with whatever key it has, and nobody would know why.
fn warn_of_others(backend: &Arc<Backend>) {
    let Backend { name, namespace, .. } = &**backend;
    if !backend.allowed_namespaces.contains(NAMESPACE) {
        tracing::warn!(
            "AIBackend {namespace}/{name} is not for the command, which is in namespace {NAMESPACE}: put it there, or give it \
             `allowedNamespaces: {{from: All}}`"
        );
    }
}

/// Removes what killed runs left. What cannot be removed is in nobody's way.
fn sweep(runs: &RunDirectory) {
    match runs.sweep_stale() {
        Ok(sweep) => sweep.still_populated.iter().for_each(|cgroup| {
            tracing::info!(
                "processes of a run that was killed still run, no longer captured; {}/cgroup.procs lists them",
                cgroup.display()
            );
        }),
        Err(error) => tracing::warn!("what an earlier run left could not be removed: {error}"),
    }
}

fn end(run: Run) {
    if let Err(error) = run.end() {
        tracing::warn!("this run leaves something behind, which the next one removes: {error}");
    }
}

/// As the command line says, or else a policy, or else Open.
fn on_failure(fail: Option<Fail>, snapshot: &Snapshot, workload: &Workload) -> FailurePolicy {
    match (fail, snapshot.failure_policy(&workload.identity())) {
        (Some(fail), _) => fail.into(),
        (None, Some(weir_api::FailurePolicy::Closed)) => FailurePolicy::Closed,
        (None, Some(weir_api::FailurePolicy::Open) | None) => FailurePolicy::Open,
    }
}

fn capture_settings(arguments: &Arguments, on_failure: FailurePolicy) -> CaptureSettings {
    let ports = CAPTURED_PORTS
        .into_iter()
        .filter(|port| !arguments.exclude_port.contains(port))
        .collect();
    CaptureSettings {
        ports,
        exclude: arguments.exclude_cidr.clone(),
        on_failure,
        ..CaptureSettings::default()
    }
}

/// Serves what is captured until told to stop, and then lets connections end.
async fn serve(
    capture: Capture,
    downstream: Arc<Downstream>,
    stop: CancellationToken,
    hurry: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            connection = capture.accept() => {
                let downstream = Arc::clone(&downstream);
                connections.spawn(async move { downstream.serve(connection).await });
            }
            // Reaped as they end, so that the set holds what is open and no more.
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    capture.stop();
    drain(connections, &hurry).await;
}

/// Lets connections end, for [`DRAIN_LIMIT`] or until nobody waits for them.
async fn drain(mut connections: JoinSet<()>, hurry: &CancellationToken) {
    tracing::debug!(
        connections = connections.len(),
        "capture has ended; connections may end"
    );
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => return,
        () = tokio::time::sleep(DRAIN_LIMIT) => {}
        () = hurry.cancelled() => tracing::debug!("connections are cut, for a signal came"),
    }
    connections.shutdown().await;
}
