//! The mock provider: speaks the documented wire formats, misbehaves when a model's name asks for it, and records what it was sent.

pub mod behaviour;
mod connection;
mod http1;
mod http2;
pub mod record;
pub mod reply;
pub mod route;
pub mod text;

mod anthropic;
mod openai;
mod responses;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::sync::oneshot;

pub use record::{Ending, Record, Records};

/// What a mock is told when it starts.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Stands in the pages of hosts that are no provider's, so that two mocks can be told apart.
    pub name: String,
    /// The only key that is accepted; `None` accepts all.
    pub key: Option<String>,
}

/// An address to serve on.
pub struct Listen {
    /// Bound already, so that it is known to be reachable once the mock exists.
    pub listener: TcpListener,
    /// `None` serves plaintext.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Listen {
    /// Binds `address`, for TLS where a configuration is given.
    ///
    /// # Errors
    /// Whatever bind(2) says, with the address.
    pub fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, tls })
    }
}

/// A running mock, on a thread of its own, which lives in the network namespace of the thread that started it. Ends when dropped.
pub struct Mock {
    records: Records,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Starts serving.
    ///
    /// # Errors
    /// When no thread or runtime can be had.
    pub fn start(settings: Settings, listens: Vec<Listen>) -> io::Result<Self> {
        let records = Records::default();
        let settings = Arc::new(settings);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = records.clone();
        let thread = std::thread::Builder::new()
            .name("mock-provider".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    for listen in listens {
                        let (settings, records) = (settings.clone(), shared.clone());
                        tokio::spawn(accept(listen, settings, records));
                    }
                    // The sender's end of life counts as a stop too.
                    let _ = stopped.await;
                });
            })?;
        Ok(Self {
            records,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What it saw.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Serves until the process ends.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the mock provider panicked");
        }
    }
}

async fn accept(listen: Listen, settings: Arc<Settings>, records: Records) {
    let listener =
        tokio::net::TcpListener::from_std(listen.listener).expect("made non-blocking when it was bound");
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let serving = connection::serve(
                    stream,
                    client,
                    listen.tls.clone(),
                    settings.clone(),
                    records.clone(),
                );
                tokio::spawn(serving);
            }
            // Out of descriptors, or a client that has already gone: the next accept may do.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
