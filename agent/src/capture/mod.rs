//! Capture: the eBPF redirect of a cgroup's connections to the agent's listener.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use weir_agent::capture::{Capture, CaptureSettings, RunDirectory, preflight};
//!
//! preflight::check()?;
//! let runs = RunDirectory::open("/run/weir/runs")?;
//! runs.sweep_stale()?;
//! let run = runs.begin()?;
//! let capture = Capture::start(&CaptureSettings::default(), run.cgroup())?;
//! let mut command = std::process::Command::new("curl");
//! run.cgroup().join_before_exec(&mut command)?;
//! let child = command.spawn()?;
//! let connection = capture.accept().await;
//! println!("{} dialled {}", connection.origin.command, connection.origin.destination);
//! # drop(child); capture.stop(); run.end()?; Ok(()) }
//! ```

mod attach;
mod cgroup;
mod counts;
mod error;
mod heartbeat;
mod kernel;
mod listener;
mod node;
mod origin;
pub mod pods;
pub mod preflight;
mod program;
mod runs;
mod settings;
mod sys;

use std::sync::Arc;

use tokio::net::TcpStream;

pub(crate) use sys::links::is_bpffs;

pub use cgroup::{Cgroup, CgroupError, Hierarchy};
pub use counts::{CaptureCounters, CaptureCounts};
pub use error::CaptureError;
pub use node::{
    NodeCapture, PinnedCapture, PinsIdentity, PodCapture, PodFault, PodListener, PodSandbox, load_programs,
};
pub use origin::Origin;
pub use runs::{Run, RunDirectory, RunError, Sweep};
pub use settings::{CaptureSettings, FailurePolicy};

use attach::Attachments;
use heartbeat::Heartbeat;
use listener::{Listener, Sockets};
use origin::Origins;

/// A connection that an app of the cgroup opened, and where it was going.
#[derive(Debug)]
pub struct CapturedConnection {
    /// The app's connection. Its own addresses say nothing about where it was going.
    pub stream: TcpStream,
    /// Where it was going, and who opened it.
    pub origin: Origin,
}

/// The capture of one cgroup: loaded programs, attached, and the listener that they redirect to.
///
/// Dropping it detaches the programs; connections already handed out live on.
pub struct Capture {
    // In the order of their end: no new redirect, then no programs, then no listener.
    heartbeat: Heartbeat,
    _attachments: Attachments,
    listener: Listener,
    origins: Origins,
    counters: Arc<CaptureCounters>,
}

impl Capture {
    /// Captures what the cgroup's processes dial from here on. The listener stands in the calling thread's network
    /// namespace, and only connections from that namespace are captured; others follow the failure policy.
    ///
    /// Call it inside a tokio runtime with I/O and time.
    pub fn start(settings: &CaptureSettings, cgroup: &Cgroup) -> Result<Self, CaptureError> {
        let listener = Sockets::open(0)
            .and_then(Listener::new)
            .map_err(CaptureError::Listener)?;
        let mut programs = program::load(settings, None)?;
        let mut maps = program::take_maps(&mut programs, settings)?;
        maps.enrolments
            .insert(listener.network_namespace, listener.enrolment(), 0)?;
        let origins = Origins::new(maps.origins);
        // The first beat comes before the first program can ask for it.
        let heartbeat = Heartbeat::start(maps.heartbeat, settings.heartbeat_bound)?;
        let attachments = Attachments::attach(programs, cgroup, settings.on_failure)?;
        Ok(Self {
            heartbeat,
            _attachments: attachments,
            listener,
            origins,
            counters: Arc::new(CaptureCounters::new(maps.counts)),
        })
    }

    /// The next captured connection. A connection without an original destination (someone dialled the listener) is
    /// reset and counted: Weir never guesses. Errors of accept are waited out. Cancelling loses no connection.
    pub async fn accept(&self) -> CapturedConnection {
        self.listener.captured(&self.origins).await
    }

    /// The listener's ports on 127.0.0.1 and, where there is IPv6, on `[::1]`.
    pub fn listener_ports(&self) -> (u16, Option<u16>) {
        (
            self.listener.port_v4,
            (self.listener.port_v6 != 0).then_some(self.listener.port_v6),
        )
    }

    /// What becomes of the connections.
    pub fn counters(&self) -> Arc<CaptureCounters> {
        Arc::clone(&self.counters)
    }

    /// How many connections were reset because they had no original destination: dialled straight to the listener.
    pub fn resets(&self) -> u64 {
        self.listener.resets()
    }

    /// Ends capture and leaves nothing: what the cgroup's processes dial next goes where they dial it.
    pub fn stop(self) {}
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Between the listener's end and the detaching nothing may be redirected to a closed port.
        self.heartbeat.withdraw();
    }
}
