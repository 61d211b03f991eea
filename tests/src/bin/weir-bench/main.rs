//! Benchmarks of Weir against a bare proxy: the bench itself, and every program that takes part in it.
//!
//! docs/benchmarks.md says what is compared and how. `cargo xtask bench` builds and starts this.

mod bare_proxy;
mod load;
mod plain_relay;
mod report;
mod rows;
mod sample;
mod scene;
mod upstream;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// What one process of the bench does.
#[derive(Parser)]
enum Role {
    /// Runs the benchmarks: makes a network, starts the others, prints the table.
    Run(scene::Options),
    /// The provider: answers at once, or with a stream of events.
    Upstream {
        /// Where it listens with TLS.
        #[arg(long)]
        tls: SocketAddr,
        /// Where it listens for the relay's bytes.
        #[arg(long)]
        raw: SocketAddr,
        /// Where its root certificate is written.
        #[arg(long)]
        authority: PathBuf,
    },
    /// The proxy to compare with: hyper on both sides, and nothing between.
    BareProxy {
        /// Where it listens with TLS.
        #[arg(long)]
        listen: SocketAddr,
        /// Where it sends requests.
        #[arg(long)]
        upstream: SocketAddr,
        /// The root certificate of the upstream.
        #[arg(long)]
        trust: PathBuf,
        /// Where its own root certificate is written.
        #[arg(long)]
        authority: PathBuf,
    },
    /// The relay to compare with: copies bytes.
    PlainRelay {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// Where it connects to.
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// The client: does what it is told on its standard input.
    Load {
        /// Whom it calls with TLS.
        #[arg(long)]
        target: SocketAddr,
        /// Whom it calls without.
        #[arg(long)]
        raw: SocketAddr,
    },
}

/// The host that every request names.
const HOST: &str = "api.openai.com";

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    match Role::parse() {
        Role::Run(options) => scene::run(&options),
        Role::Upstream { tls, raw, authority } => {
            runtime(true)?.block_on(upstream::serve(tls, raw, &authority))
        }
        Role::BareProxy {
            listen,
            upstream,
            trust,
            authority,
        } => runtime(true)?.block_on(bare_proxy::serve(listen, upstream, &trust, &authority)),
        Role::PlainRelay { listen, upstream } => {
            runtime(true)?.block_on(plain_relay::serve(listen, upstream))
        }
        Role::Load { target, raw } => runtime(false)?.block_on(load::obey(target, raw)),
    }
}

/// As many workers as Weir has: as there are processors. The client does with one thread.
fn runtime(workers: bool) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match workers {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

/// Tells whoever started this process that it listens from here on.
fn ready() -> io::Result<()> {
    writeln!(io::stdout(), "ready")
}
