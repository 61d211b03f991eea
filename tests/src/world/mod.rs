//! A world of the test's own, in which the real `weir run` meets a mock provider at public addresses.

pub mod binaries;
pub mod cgroup;
pub mod configuration;
pub mod descriptor;
pub mod leftovers;
pub mod log;
pub mod namespace;
pub mod run;
pub mod servers;
mod stream;
pub mod wait;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::version::{TLS12, TLS13};

use crate::certificates::Authority;
use crate::mock::{Listen, Mock, Records, Settings};
use cgroup::ControlGroup;
use run::WeirRun;

/// The key that the mock provider accepts, and that only Weir's configuration holds.
pub const KEY: &str = xtask::cluster_paths::PROVIDER_KEY;

/// The provider behind the backend's `endpoint`.
pub const PROVIDER: &str = "203.0.113.10";
/// The address that providers' own host names resolve to.
pub const ORIGINAL: &str = "203.0.113.20";
/// The same over IPv6, by the name `v6.example`.
pub const ORIGINAL6: &str = "2001:db8::20";
/// A host that is no provider's.
pub const PLAIN: &str = "203.0.113.30";
/// An address with nothing on it, free for the test's own servers.
pub const FREE: &str = "203.0.113.40";
/// The same over IPv6.
pub const FREE6: &str = "2001:db8::40";
/// For a server that claims to be a provider and is not.
pub const IMPOSTOR: &str = "203.0.113.66";

const HOSTS: &str = "127.0.0.1 localhost
::1 localhost
203.0.113.10 provider.example
203.0.113.20 api.openai.com api.anthropic.com api.deepseek.com api.groq.com api.mistral.ai openrouter.ai api.x.ai
2001:db8::20 v6.example
203.0.113.30 plain.example other.example
203.0.113.40 free.example
203.0.113.66 impostor.example
";

const NAMES: &[&str] = &[
    "provider.example",
    "api.openai.com",
    "api.anthropic.com",
    "api.deepseek.com",
    "api.groq.com",
    "api.mistral.ai",
    "openrouter.ai",
    "api.x.ai",
    "v6.example",
    "plain.example",
    "other.example",
    "free.example",
    PROVIDER,
    ORIGINAL,
    PLAIN,
    FREE,
];

/// Namespaces, names, a provider, and a place for files. All of it ends when it is dropped.
pub struct World {
    // Dropped in this order: what runs first, then what it runs on.
    control_group: ControlGroup,
    provider: Mock,
    authority: Authority,
    directory: tempfile::TempDir,
    runs: AtomicUsize,
}

impl World {
    /// Makes it around the calling thread: the test, and what it starts from this thread, live in it from now on.
    ///
    /// # Panics
    /// Without the privileges it takes, with what is missing.
    pub fn new() -> Self {
        let addresses = [PROVIDER, ORIGINAL, PLAIN, FREE, IMPOSTOR].map(|address| format!("{address}/32"));
        let addresses6 = [ORIGINAL6, FREE6].map(|address| format!("{address}/128"));
        let all: Vec<&str> = addresses.iter().chain(&addresses6).map(String::as_str).collect();
        namespace::enter(&all);
        let directory = tempfile::Builder::new()
            .prefix("weir-test-")
            .tempdir()
            .expect("/tmp is writable");
        namespace::replace_file("/etc/hosts", HOSTS, &directory.path().join("hosts"));
        let authority = Authority::new("Weir tests: public root");
        // Weir verifies providers against public roots; in this world the mock's root is one of them.
        let public = std::fs::read_to_string(PUBLIC_ROOTS)
            .unwrap_or_else(|error| panic!("{PUBLIC_ROOTS}: {error}; Debian's package is ca-certificates"));
        let roots = format!("{public}\n{}", authority.pem());
        namespace::replace_file(PUBLIC_ROOTS, &roots, &directory.path().join("roots.pem"));
        let settings = Settings {
            name: "The mock provider".to_owned(),
            key: Some(KEY.to_owned()),
        };
        let provider = Mock::start(settings, listens(&authority)).expect("a thread can be had");
        Self {
            control_group: ControlGroup::new(),
            provider,
            authority,
            directory,
            runs: AtomicUsize::new(0),
        }
    }

    /// What the provider was sent.
    pub fn provider(&self) -> &Records {
        self.provider.records()
    }

    /// The root that signed the world's servers.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The cgroup that everything here runs in.
    pub fn control_group(&self) -> &ControlGroup {
        &self.control_group
    }

    /// A file in the world's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file there and gives its path.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the world's directory is writable");
        path
    }

    /// A `weir run` with the configuration that most tests use: OpenAI and Anthropic, their key in a Secret, sent to the mock's endpoint.
    pub fn weir(&self) -> WeirRun<'_> {
        let text = configuration::standard(self);
        self.bare_weir().configuration(&text)
    }

    /// A `weir run` without `-f`.
    pub fn bare_weir(&self) -> WeirRun<'_> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        WeirRun::new(self, format!("weir-{number}"))
    }

    /// A server of another name and root than the world's, on the impostor's address.
    ///
    /// # Panics
    /// If its address is taken.
    pub fn impostor(&self) -> Mock {
        let authority = Authority::new("nobody's root");
        let tls = authority.server(NAMES, &["h2", "http/1.1"], &[&TLS13, &TLS12]);
        let address = SocketAddr::new(IMPOSTOR.parse().expect("a constant"), 443);
        let listen = Listen::bind(address, Some(tls)).unwrap_or_else(|error| panic!("{error}"));
        Mock::start(
            Settings {
                name: "The impostor".to_owned(),
                key: None,
            },
            vec![listen],
        )
        .expect("a thread can be had")
    }

    /// Leaves a command only what a user's shell would have: a path, a home, no key.
    pub fn environment(&self, command: &mut Command) {
        command.env_clear();
        command
            .env("HOME", self.directory.path())
            .env("LANG", "C.UTF-8")
            .env("USER", "root");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.current_dir(self.directory.path());
    }

    /// A program outside of any capture, in the same namespaces.
    pub fn outside(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        self.environment(&mut command);
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The thread may make another world, and cannot mount over a file that is gone.
        for target in ["/etc/hosts", PUBLIC_ROOTS, "/run"] {
            let _ = nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

const PUBLIC_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

fn listens(authority: &Authority) -> Vec<Listen> {
    let tls = authority.server(NAMES, &["h2", "http/1.1"], &[&TLS13, &TLS12]);
    [PROVIDER, ORIGINAL, ORIGINAL6, PLAIN]
        .iter()
        .flat_map(|address| [(address, 443, Some(tls.clone())), (address, 80, None)])
        .map(|(address, port, tls)| {
            let address = SocketAddr::new(address.parse().expect("a constant"), port);
            Listen::bind(address, tls).unwrap_or_else(|error| panic!("{error}"))
        })
        .collect()
}
