//! One `weir run`: put together, watched while it runs, and looked at afterwards.

mod ended;
mod start;

pub use ended::Finished;
pub use start::WeirRun;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::log::{self, LogLine};
use super::stream::Stream;
use super::wait::{self, PATIENCE};
use super::{World, leftovers};

/// Where the runs of a world serve their metrics: each world has a network of its own, so one port does.
pub const METRICS: &str = "127.0.0.1:9464";

/// A `weir run` that was started.
pub struct Running<'world> {
    world: &'world World,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    access_log: PathBuf,
    waited: bool,
}

impl Running<'_> {
    /// Weir's own process.
    pub fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"))
    }

    /// Sends Weir a signal.
    ///
    /// # Panics
    /// If it has already ended.
    pub fn signal(&self, signal: Signal) {
        kill(self.process(), signal).unwrap_or_else(|error| panic!("cannot send {signal}: {error}"));
    }

    /// Kills it, and waits until it is dead: until its sockets are closed it still takes connections.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        // Left to be reaped: who waits for its exit status finds it.
        waitid(
            Id::Pid(self.process()),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
        )
        .expect("weir is a child of this test");
    }

    /// Writes a line to the command's standard input.
    ///
    /// # Panics
    /// If that is closed.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is still open");
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .expect("the command reads its input");
    }

    /// Ends the command's standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until the command's output contains `text`.
    ///
    /// # Panics
    /// If it ends or a minute passes without.
    pub fn wait_for_stdout(&self, text: &str) -> String {
        self.wait_for(&self.stdout, "standard output", text)
    }

    /// Waits until the error output contains `text`.
    ///
    /// # Panics
    /// If it ends or a minute passes without.
    pub fn wait_for_stderr(&self, text: &str) -> String {
        self.wait_for(&self.stderr, "error output", text)
    }

    fn wait_for(&self, stream: &Stream, name: &str, text: &str) -> String {
        stream.wait_for(text).unwrap_or_else(|| {
            panic!(
                "{name} never contained {text:?}\n--- stdout ---\n{}\n--- stderr ---\n{}",
                self.stdout.text(),
                self.stderr.text()
            )
        })
    }

    /// Waits until the access log has `count` lines, and gives all of them.
    ///
    /// # Panics
    /// If it does not within a minute.
    pub fn wait_for_exchanges(&self, count: usize) -> Vec<LogLine> {
        let reached = wait::for_file(&self.access_log, || log::read(&self.access_log).len() >= count);
        let lines = log::read(&self.access_log);
        assert!(
            reached,
            "{count} exchanges expected, the access log has {lines:?}\n{}",
            self.stderr.text()
        );
        lines
    }

    /// The metrics as they are now.
    ///
    /// # Panics
    /// If they are not served; see [`WeirRun::metrics`].
    pub fn scrape(&self) -> String {
        let address: SocketAddr = METRICS.parse().expect("a constant");
        let mut stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("no metrics at {METRICS}: {error}"));
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the timeout is not zero");
        stream
            .write_all(
                format!("GET /metrics HTTP/1.1\r\nHost: {METRICS}\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .expect("the metrics listener reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the metrics are text");
        assert!(text.starts_with("HTTP/1.1 200"), "metrics answered {text}");
        text
    }

    /// Resident memory of Weir's process in bytes.
    ///
    /// # Panics
    /// If it has ended.
    pub fn resident_bytes(&self) -> u64 {
        status_bytes(self.process(), "VmRSS:")
    }

    /// The most that Weir's process has had resident, in bytes.
    ///
    /// # Panics
    /// If it has ended.
    pub fn peak_resident_bytes(&self) -> u64 {
        status_bytes(self.process(), "VmHWM:")
    }

    /// Waits for its end, the only run of its world by then. The command's standard input is closed first.
    ///
    /// # Panics
    /// If it does not end within two minutes, if it panicked, or if it left a cgroup behind.
    pub fn finish(mut self) -> Finished {
        let finished = self.wait();
        leftovers::assert_nothing(self.world.control_group());
        finished
    }

    /// Waits for its end without asking that nothing is left: for runs that were killed.
    ///
    /// # Panics
    /// If it does not end within two minutes, or if it panicked.
    pub fn wait(&mut self) -> Finished {
        self.close_stdin();
        let status = self.wait_for_exit();
        self.waited = true;
        let finished = Finished {
            status,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            access_log: log::read(&self.access_log),
        };
        assert!(
            !finished.stderr.contains("panicked"),
            "Weir panicked:\n{}",
            finished.stderr
        );
        finished
    }

    fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + 2 * PATIENCE;
        let descriptor = super::descriptor::process(self.process());
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if super::descriptor::readable(&descriptor, left) {
                return self.child.wait().expect("it is our own child");
            }
        }
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        panic!("weir run does not end\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}");
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.waited {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn status_bytes(process: Pid, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Weir is still running");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("Linux reports resident memory");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        * 1024
}
