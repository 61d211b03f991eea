//! Idle connections to providers.
//!
//! Each captured connection has a pool of its own: what an app opened to one address goes to that one address, and ends with it.
//! What is dialled from the node shares one pool between all its workloads.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::dialler::Dialler;
use super::route::Route;
use super::sender::{Protocol, Sender};

/// The most idle connections that a pool keeps; the one that was idle longest goes first.
const MOST_IDLE: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    dialler: Dialler,
    idle: Mutex<Vec<Idle>>,
    opening: Mutex<Vec<Opening>>,
}

/// A connection that is being opened and may turn out to serve many exchanges.
#[derive(Debug)]
struct Opening {
    route: Arc<Route>,
    /// Closed when it is open, or has failed. A permit is for whoever takes it on from one that was cancelled.
    baton: Arc<Semaphore>,
}

/// Held by whoever opens a connection that others wait for.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    pool: &'a Pool,
    baton: Arc<Semaphore>,
    finished: bool,
}

impl Opener<'_> {
    /// The connection is open, or has failed: nobody need wait any more.
    pub(super) fn finish(mut self) {
        self.finished = true;
        self.pool
            .opening
            .lock()
            .retain(|opening| !Arc::ptr_eq(&opening.baton, &self.baton));
        self.baton.close();
    }
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.baton.add_permits(1);
        }
    }
}

#[derive(Debug)]
struct Idle {
    route: Arc<Route>,
    /// What was offered when it was opened; what was agreed on is the sender's.
    offered: Protocol,
    sender: Sender,
}

impl Pool {
    /// A pool whose connections are opened by this dialler.
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self {
            dialler,
            ..Self::default()
        }
    }

    pub(super) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// A connection by this route, if there is one that can take a request.
    pub(super) fn take(&self, route: &Arc<Route>, offered: Protocol) -> Option<Sender> {
        let mut idle = self.idle.lock();
        idle.retain(|connection| !connection.sender.is_closed());
        let index = idle.iter().rposition(|connection| {
            connection.offered == offered
                && (Arc::ptr_eq(&connection.route, route) || connection.route == *route)
        })?;
        match &idle[index].sender {
            // One connection of HTTP/2 serves many exchanges at a time.
            Sender::Http2(sender) => Some(Sender::Http2(sender.clone())),
            Sender::Http1(_) => Some(idle.remove(index).sender),
        }
    }

    /// Whether to open a connection by this route oneself. Many exchanges of one connection of HTTP/2 begin at once; were each to open
    /// a connection, there would be as many as exchanges. So one does, and the others wait to see whether they can share it:
    /// `None` once it is there or has failed. Then each may open its own, for a server may speak HTTP/1.1 only.
    pub(super) async fn opener(&self, route: &Arc<Route>) -> Option<Opener<'_>> {
        let baton = {
            let mut opening = self.opening.lock();
            match opening.iter().find(|opening| opening.route == *route) {
                Some(opening) => Arc::clone(&opening.baton),
                None => {
                    let baton = Arc::new(Semaphore::new(1));
                    opening.push(Opening {
                        route: Arc::clone(route),
                        baton: Arc::clone(&baton),
                    });
                    baton
                }
            }
        };
        let permit = baton.acquire().await.ok()?;
        permit.forget();
        Some(Opener {
            pool: self,
            baton: Arc::clone(&baton),
            finished: false,
        })
    }

    /// Makes a new connection known to others at once, where they can use it beside its first exchange.
    pub(super) fn share(&self, route: &Arc<Route>, offered: Protocol, sender: &Sender) {
        if let Sender::Http2(sender) = sender {
            self.put(route, offered, Sender::Http2(sender.clone()));
        }
    }

    fn put(&self, route: &Arc<Route>, offered: Protocol, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() >= MOST_IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            route: Arc::clone(route),
            offered,
            sender,
        });
    }
}

/// A connection on loan for one exchange. Given back when the answer has come to its end; dropped, and with it closed, before.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    route: Arc<Route>,
    offered: Protocol,
    sender: Option<Sender>,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, route: &Arc<Route>, offered: Protocol, sender: Sender) -> Self {
        let sender = match sender {
            Sender::Http1(_) => Some(sender),
            // In the pool already.
            Sender::Http2(_) => None,
        };
        Self {
            pool: Arc::clone(pool),
            route: Arc::clone(route),
            offered,
            sender,
        }
    }

    /// The answer has been read to its end: another exchange may use the connection.
    pub(crate) fn give_back(mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.put(&self.route, self.offered, sender);
        }
    }
}
