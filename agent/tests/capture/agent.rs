//! An agent in a process of its own, to be killed or stopped.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Child,
    time::Duration,
};

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::io::AsyncWriteExt;
use weir_agent::capture::{Capture, CaptureSettings, Cgroup, FailurePolicy, RunDirectory};

use crate::{
    client::PREFIX,
    support::{answer, outside},
};

/// How old the agent's heartbeat may be.
pub(crate) const BOUND: Duration = Duration::from_millis(500);

/// Begins a run with records in a folder, captures its cgroup, says where it is, and answers until it is killed.
pub(crate) fn serve(words: &[&str]) {
    let on_failure = if words[0] == "closed" {
        FailurePolicy::Closed
    } else {
        FailurePolicy::Open
    };
    let settings = CaptureSettings {
        on_failure,
        heartbeat_bound: BOUND,
        ..CaptureSettings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let run = RunDirectory::open(words[1]).unwrap().begin().unwrap();
        let capture = Capture::start(&settings, run.cgroup()).unwrap();
        if words[0] == "scarce" {
            leave_descriptors(2);
        }
        println!("\n{PREFIX}{}", run.cgroup().path().display());
        match words[0] {
            "scarce" => answer_late(&capture).await,
            _ => answer(&capture).await,
        }
    });
}

/// Lets this process open so many descriptors and no more.
fn leave_descriptors(spare: u64) {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, open + spare, hard).unwrap();
}

/// Holds each connection for a while, so that more of them come than descriptors are left.
async fn answer_late(capture: &Capture) {
    loop {
        let mut connection = capture.accept().await;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let text = connection.origin.destination.to_string();
            let _ = connection.stream.write_all(text.as_bytes()).await;
        });
    }
}

/// An agent that runs, and the cgroup that it captures.
pub(crate) struct Agent {
    process: Child,
    pub(crate) cgroup: Cgroup,
}

impl Agent {
    pub(crate) fn start(policy: &str, records: &Path) -> Self {
        let mut process = outside(&format!("agent {policy} {}", records.display()));
        let mut process = process.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let path = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(PREFIX).map(str::to_owned))
            .expect("the agent starts");
        Self {
            process,
            cgroup: Cgroup::open(path),
        }
    }

    /// Runs a client in the captured cgroup.
    pub(crate) fn client(&self, arguments: &str) -> String {
        let mut command = outside(arguments);
        self.cgroup.join_before_exec(&mut command).unwrap();
        crate::support::said(&command.output().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// SIGKILL, waited for.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.cgroup.remove();
    }
}
