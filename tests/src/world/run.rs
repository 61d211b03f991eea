//! One `weir run`: started, watched, and looked at afterwards.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::log::{self, LogLine};
use super::stream::Stream;
use super::wait::{self, PATIENCE};
use super::{World, leftovers};

/// Where the runs of a world serve their metrics: each world has a network of its own, so one port does.
pub const METRICS: &str = "127.0.0.1:9464";

/// A `weir run` that is being put together.
pub struct WeirRun<'world> {
    world: &'world World,
    options: Vec<String>,
    configuration: Option<PathBuf>,
    environment: Vec<(String, String)>,
    state: PathBuf,
    metrics: bool,
    name: String,
}

impl<'world> WeirRun<'world> {
    pub(super) fn new(world: &'world World, name: String) -> Self {
        Self {
            world,
            options: Vec::new(),
            configuration: None,
            environment: Vec::new(),
            state: world.path("state"),
            metrics: false,
            name,
        }
    }

    /// `-f`: with the file of that text.
    #[must_use]
    pub fn configuration(mut self, text: &str) -> Self {
        let path = self.world.path(&format!("{}.yaml", self.name));
        std::fs::write(&path, text).expect("the world's directory is writable");
        self.configuration = Some(path);
        self
    }

    /// One more option before the `--`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// A variable in Weir's own environment, which its command inherits.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A state directory other than the world's.
    #[must_use]
    pub fn state_directory(mut self, path: PathBuf) -> Self {
        self.state = path;
        self
    }

    /// `--metrics`, to be read while it runs.
    #[must_use]
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Where its configuration file is, for changes while it runs.
    pub fn configuration_path(&self) -> PathBuf {
        self.world.path(&format!("{}.yaml", self.name))
    }

    /// Starts it with its standard input open.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn<S: AsRef<str>>(self, command: &[S]) -> Running<'world> {
        let access_log = self.world.path(&format!("{}.access.log", self.name));
        std::fs::File::create(&access_log).expect("the world's directory is writable");
        let mut weir = Command::new(super::binaries::built("weir"));
        weir.arg("run");
        if let Some(configuration) = &self.configuration {
            weir.arg("-f").arg(configuration);
        }
        weir.arg("--state-dir")
            .arg(&self.state)
            .arg("--access-log")
            .arg(&access_log);
        if self.metrics {
            weir.args(["--metrics", METRICS]);
        }
        weir.args(&self.options)
            .arg("--")
            .args(command.iter().map(AsRef::as_ref));
        self.world.environment(&mut weir);
        weir.envs(self.environment.iter().map(|(name, value)| (name, value)));
        weir.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        join_cgroup(&mut weir, self.world);
        let mut child = weir
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start weir: {error}"));
        Running {
            world: self.world,
            stdin: child.stdin.take(),
            stdout: Stream::new(child.stdout.take().expect("piped above")),
            stderr: Stream::new(child.stderr.take().expect("piped above")),
            child,
            access_log,
            waited: false,
        }
    }

    /// Runs it to its end with an empty standard input.
    ///
    /// # Panics
    /// As [`Running::finish`].
    pub fn run<S: AsRef<str>>(self, command: &[S]) -> Finished {
        let mut running = self.spawn(command);
        running.close_stdin();
        running.finish()
    }
}

/// Starts the program in the world's cgroup, so that all of its descendants end with the world, and makes it end with the test's thread.
#[allow(unsafe_code, reason = "std offers the moment between fork and exec only so")]
fn join_cgroup(command: &mut Command, world: &World) {
    let procs = world.control_group().path().join("cgroup.procs");
    // SAFETY: between fork and exec only async-signal-safe calls may be made: open, write and close through std::fs with a path that was
    // made before, and prctl and signal. The path's conversion to a C string uses the stack for a path this short.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // As a shell at a terminal would start it: under nohup and the like some are ignored, and stay so.
            for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            std::fs::write(&procs, "0")
        });
    }
}

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

/// A `weir run` that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The command's standard output.
    pub stdout: String,
    /// The error output of the command and of Weir.
    pub stderr: String,
    /// One line an exchange.
    pub access_log: Vec<LogLine>,
}

impl Finished {
    /// Asserts that it exited with `code`.
    ///
    /// # Panics
    /// Otherwise, with all that it printed.
    pub fn assert_exit(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "exit status\n--- stdout ---\n{}\n--- stderr ---\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The access log's only line.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn only_exchange(&self) -> &LogLine {
        assert_eq!(
            self.access_log.len(),
            1,
            "exchanges: {:?}\n{}",
            self.access_log,
            self.stderr
        );
        self.access_log.first().expect("counted above")
    }
}
