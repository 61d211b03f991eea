//! The agent of one run: everything that serves the command, started and ended together.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_api::{Auth, Snapshot};

use super::user::RunAs;
use super::{Arguments, CAPTURED_PORTS, Failure};
use crate::capture::{Capture, CaptureSettings, Cgroup};
use crate::downstream::Downstream;
use crate::exchange::Services;
use crate::policy::{FileSource, SnapshotHandle};
use crate::telemetry::Telemetry;
use crate::telemetry::record::Workload;
use crate::trust::{self, LocalAuthority, TrustFiles};
use crate::upstream::{Upstream, UpstreamTls};

/// How long connections may take to end once every process that opened them has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What runs beside the command.
pub(super) struct Agent {
    runtime: Runtime,
    cgroup: Cgroup,
    trust_files: TrustFiles,
    snapshot: SnapshotHandle,
    /// Watches the files for as long as it lives.
    _source: Option<FileSource>,
    telemetry: Telemetry,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}
