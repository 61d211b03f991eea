//! A network namespace, a cgroup and a capture for each test.

use std::{
    process::{Command, Output, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, runtime::Runtime};
use weir_agent::capture::{Capture, CaptureSettings, Cgroup, FailurePolicy, Run, RunDirectory, preflight};

use crate::client::PATIENCE;

/// Addresses that stand on `lo` of every test's namespace, so that source addresses can be bound.
pub(crate) const LOCAL_V4: &str = "203.0.113.10";
pub(crate) const LOCAL_V6: &str = "2001:db8::10";

/// Runs a test on a thread of its own, in a network namespace of its own with `lo` up.
pub(crate) fn in_namespace(test: impl FnOnce() + Send) {
    preflight::check().unwrap_or_else(|error| panic!("this test needs the real kernel: {error}"));
    thread::scope(|scope| {
        let outcome = scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("unshare(CLONE_NEWNET)");
                ip("link set lo up");
                ip(&format!("address add {LOCAL_V4}/32 dev lo"));
                ip(&format!("-6 address add {LOCAL_V6}/128 dev lo nodad"));
                test();
            })
            .join();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// iproute2, in the calling thread's network namespace.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("`ip` starts: install iproute2");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A run with its capture, and the runtime that serves it.
pub(crate) struct Fixture {
    pub(crate) runtime: Runtime,
    pub(crate) capture: Option<Capture>,
    pub(crate) run: Option<Run>,
    pub(crate) records: TempDir,
}

impl Fixture {
    pub(crate) fn new(settings: &CaptureSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let records = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(records.path()).unwrap().begin().unwrap();
        let capture = {
            let _inside = runtime.enter();
            Capture::start(settings, run.cgroup()).unwrap_or_else(|error| panic!("{error}"))
        };
        Self {
            runtime,
            capture: Some(capture),
            run: Some(run),
            records,
        }
    }

    pub(crate) fn open() -> Self {
        Self::new(&CaptureSettings::default())
    }

    pub(crate) fn closed() -> Self {
        Self::new(&CaptureSettings {
            on_failure: FailurePolicy::Closed,
            ..CaptureSettings::default()
        })
    }

    pub(crate) fn capture(&self) -> &Capture {
        self.capture.as_ref().unwrap()
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        self.run.as_ref().unwrap().cgroup()
    }

    /// Runs a client inside the cgroup, answering captured connections meanwhile, and gives what it said.
    pub(crate) fn client(&self, arguments: &str) -> String {
        self.finish(self.command(arguments))
    }

    /// A client inside the cgroup, to be started.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = outside(arguments);
        self.cgroup().join_before_exec(&mut command).unwrap();
        command
    }

    /// What became of the connections so far.
    pub(crate) fn counts(&self) -> weir_agent::capture::CaptureCounts {
        self.capture().counters().read().unwrap()
    }

    /// Runs a command to its end, answering captured connections meanwhile.
    pub(crate) fn finish(&self, command: Command) -> String {
        self.runtime.block_on(async {
            let output = tokio::process::Command::from(command).output();
            tokio::select! {
                output = output => said(&output.unwrap()),
                () = answer(self.capture()) => unreachable!(),
            }
        })
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        drop(self.capture.take());
        if let Some(run) = self.run.take() {
            if thread::panicking() {
                return;
            }
            // Clients were waited for, by their output's end: the last of a descendant's is closed before it has left its cgroup.
            self.runtime
                .block_on(async { tokio::time::timeout(PATIENCE, run.cgroup().emptied()).await })
                .expect("a client still runs in the cgroup")
                .unwrap();
            // A cgroup that can't go would be a leak of ours.
            run.end().unwrap();
        }
    }
}

/// A client outside of any captured cgroup, to be started.
pub(crate) fn outside(arguments: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["client::client", "--exact", "--nocapture", "--test-threads=1"])
        .env(crate::client::VARIABLE, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The client's own words, without the test runner's around them.
pub(crate) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(crate::client::PREFIX))
        .collect();
    assert!(
        !lines.is_empty(),
        "the client said nothing: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    lines.join("\n")
}

/// A server at an address of this namespace that says `real` to whoever connects: what an app reaches when it is not
/// captured.
pub(crate) fn real_server(address: &str) {
    let listener = std::net::TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"real");
        }
    });
}

/// What a client says that was told `real` by the server at the address it dialled.
pub(crate) fn reached_real(address: &str) -> String {
    format!("reached real, peer {address}")
}

/// Answers each captured connection with its original destination, and closes it.
pub(crate) async fn answer(capture: &Capture) {
    loop {
        let connection = capture.accept().await;
        let text = connection.origin.destination.to_string();
        tokio::spawn(say(connection.stream, text));
    }
}

async fn say(mut stream: TcpStream, text: String) {
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
    // Closing with the client's bytes unread would reset what it has yet to read.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
