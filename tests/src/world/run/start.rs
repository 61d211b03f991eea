//! What a run begins with.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal};

use super::{Finished, METRICS, Running};
use crate::world::World;
use crate::world::stream::Stream;

/// A `weir run` that is being put together.
pub struct WeirRun<'world> {
    world: &'world World,
    options: Vec<String>,
    configuration: Option<PathBuf>,
    environment: Vec<(String, String)>,
    state: PathBuf,
    metrics: bool,
    open_files: Option<u64>,
    name: String,
}

impl<'world> WeirRun<'world> {
    pub(in crate::world) fn new(world: &'world World, name: String) -> Self {
        Self {
            world,
            options: Vec::new(),
            configuration: None,
            environment: Vec::new(),
            state: world.path("state"),
            metrics: false,
            open_files: None,
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

    /// The soft limit of open files that it is started with, as a shell sets it.
    #[must_use]
    pub fn open_files(mut self, limit: u64) -> Self {
        self.open_files = Some(limit);
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
        let mut weir = Command::new(crate::world::binaries::built("weir"));
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
        join_cgroup(&mut weir, self.world, self.open_files);
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
fn join_cgroup(command: &mut Command, world: &World, open_files: Option<u64>) {
    let procs = world.control_group().path().join("cgroup.procs");
    // SAFETY: between fork and exec only async-signal-safe calls may be made: open, write and close through std::fs with a path that was
    // made before, and prctl, signal, getrlimit and setrlimit. The path's conversion to a C string uses the stack for a path this short.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // As a shell at a terminal would start it: under nohup and the like some are ignored, and stay so.
            for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            if let Some(soft) = open_files {
                let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
                setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
            }
            std::fs::write(&procs, "0")
        });
    }
}
