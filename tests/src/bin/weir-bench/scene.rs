//! The network that all of it happens in, and the processes in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use weir_tests::world::namespace;

use crate::{HOST, Outcome, report, rows, upstream};

/// Options of the bench.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only rows whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// A tenth of the work: whether it runs, not what it costs.
    #[arg(long)]
    quick: bool,
}

const UPSTREAM: &str = "203.0.113.10";
const BARE_PROXY: &str = "203.0.113.11";
const PLAIN_RELAY: &str = "203.0.113.12";
/// What the host's name resolves to. Nobody listens there: Weir captures what is sent to it.
const ORIGINAL: &str = "203.0.113.20";
/// A server that is no backend's.
const RAW: &str = "203.0.113.30";

/// Runs the rows, and prints each as it is measured.
pub(crate) fn run(options: &Options) -> Outcome {
    let addresses = [UPSTREAM, BARE_PROXY, PLAIN_RELAY, ORIGINAL, RAW].map(|address| format!("{address}/32"));
    namespace::enter(&addresses.each_ref().map(String::as_str));
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let directory = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
    let hosts = format!(
        "127.0.0.1 localhost\n{UPSTREAM} {}\n{ORIGINAL} {HOST}\n",
        upstream::NAME
    );
    namespace::replace_file("/etc/hosts", &hosts, &directory.path().join("hosts"));

    report::begin()?;
    for row in rows::all() {
        if options
            .only
            .as_ref()
            .is_some_and(|only| !row.name.contains(only.as_str()))
        {
            continue;
        }
        // A new scene for each: what one row leaves behind in a process must not meet the next.
        writeln!(std::io::stderr(), "==> {}", row.name)?;
        let measured = row
            .measure(&directory, options.quick)
            .map_err(|error| format!("{}: {error}", row.name))?;
        report::row(&row, &measured)?;
    }
    Ok(())
}

/// All processes that a row needs. They end with it.
pub(crate) struct Scene {
    /// Weir, and the client that it captures.
    pub(crate) weir: Side,
    /// The bare proxy, and its client; the client's bytes below HTTP go to the plain relay.
    pub(crate) bare: Side,
    /// No proxy, and a client of the upstream.
    pub(crate) direct: Side,
    /// The relay to compare Weir's with.
    pub(crate) plain_relay: Process,
}

/// A proxy and the client that uses it.
pub(crate) struct Side {
    client: Lines,
    /// The proxy; for `direct` the upstream.
    pub(crate) proxy: Process,
    /// The client's process. Weir's ends with Weir.
    _client: Option<Process>,
}

impl Scene {
    pub(crate) fn set(directory: &TempDir) -> Outcome<Self> {
        let path = |name: &str| directory.path().join(name);
        let at = |address: &str| format!("{address}:443");
        let mut provider = ours("upstream")?;
        provider
            .args(["--tls", &at(UPSTREAM), "--raw", &at(RAW), "--authority"])
            .arg(path("upstream.pem"));
        let provider = Process::start(provider)?;

        let mut bare = ours("bare-proxy")?;
        bare.args(["--listen", &at(BARE_PROXY), "--upstream", &at(UPSTREAM)]);
        bare.arg("--trust")
            .arg(path("upstream.pem"))
            .arg("--authority")
            .arg(path("bare.pem"));
        let bare = Process::start(bare)?;

        let mut plain_relay = ours("plain-relay")?;
        plain_relay.args(["--listen", &at(PLAIN_RELAY), "--upstream", &at(RAW)]);
        let plain_relay = Process::start(plain_relay)?;

        let client = |target: &str, raw: &str, trust: &Path| {
            let mut client = load(&at(target), &at(raw))?;
            client.env("SSL_CERT_FILE", trust);
            Process::start(client)
        };
        let bare_client = client(BARE_PROXY, PLAIN_RELAY, &path("bare.pem"))?;
        let direct_client = client(UPSTREAM, RAW, &path("upstream.pem"))?;
        Ok(Self {
            weir: weir(directory)?,
            bare: Side {
                client: bare_client.1,
                proxy: bare.0,
                _client: Some(bare_client.0),
            },
            direct: Side {
                client: direct_client.1,
                proxy: provider.0,
                _client: Some(direct_client.0),
            },
            plain_relay: plain_relay.0,
        })
    }
}

/// Weir as users run it, accounting and access log included.
fn weir(directory: &TempDir) -> Outcome<Side> {
    let path = |name: &str| directory.path().join(name);
    let pem = fs::read_to_string(path("upstream.pem"))?;
    let pem: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    let configuration = include_str!("weir.yaml").replace("UPSTREAM", upstream::NAME) + &pem;
    fs::write(path("weir.yaml"), configuration)?;
    let client = load(&format!("{ORIGINAL}:443"), &format!("{RAW}:443"))?;
    let mut weir = Command::new(beside_us("weir")?);
    weir.arg("run").arg("-f").arg(path("weir.yaml"));
    weir.arg("--state-dir")
        .arg(path("state"))
        .arg("--access-log")
        .arg(path("access.log"));
    weir.arg("--").arg(client.get_program()).args(client.get_args());
    weir.stderr(File::create(path("weir.log"))?);
    let (proxy, client) = Process::start(weir).map_err(|error| {
        format!(
            "{error}: {}",
            fs::read_to_string(path("weir.log")).unwrap_or_default()
        )
    })?;
    Ok(Side {
        client,
        proxy,
        _client: None,
    })
}

fn load(target: &str, raw: &str) -> Outcome<Command> {
    let mut command = ours("load")?;
    command.args(["--target", target, "--raw", raw]);
    Ok(command)
}

fn ours(role: &str) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role);
    Ok(command)
}

fn beside_us(name: &str) -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

impl Side {
    /// Lets the client do a line, and gives what it measured itself.
    pub(crate) fn ask(&mut self, line: &str) -> Outcome<u64> {
        writeln!(self.client.input, "{line}")?;
        let answer = self.client.next()?;
        let measured = answer
            .strip_prefix("done ")
            .ok_or_else(|| format!("{line}: the client failed {answer}"))?;
        Ok(measured.parse()?)
    }
}

/// A process that is told to end when it is dropped.
pub(crate) struct Process(Child);

/// What it is told and what it says.
struct Lines {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Lines {
    fn next(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Process {
    /// Starts it, and waits until it is ready.
    fn start(mut command: Command) -> Outcome<(Self, Lines)> {
        let shown = format!("{command:?}");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("it is piped above")?;
        let output = BufReader::new(child.stdout.take().ok_or("it is piped above")?);
        let process = Self(child);
        let mut lines = Lines { input, output };
        match lines.next()?.as_str() {
            "ready" => Ok((process, lines)),
            other => Err(format!("{shown} did not start: {other}").into()),
        }
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Weir passes it on to its client, and leaves nothing behind.
        let _ = kill(self.id(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
