//! The way from the agent to the provider: dial, verify, send.

mod connect;
mod dialler;
mod error;
mod first_byte;
mod own_authorities;
mod pool;
mod route;
mod sender;
mod tls;

pub(crate) use dialler::CONNECT_LIMIT;
pub use dialler::{Dialler, SocketMaker};
pub use error::UpstreamError;
pub(crate) use pool::{Lease, Pool};
pub(crate) use route::{Address, Route, Security};
use sender::Sender;
pub(crate) use sender::{BodyError, Protocol, RequestBody};
pub use tls::{PublicRoots, UpstreamTls};

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use weir_api::Timeouts;

/// Sends requests to providers.
#[derive(Debug)]
pub struct Upstream {
    tls: UpstreamTls,
    /// Connections of backends with `dial: Node`, shared by all workloads of this node.
    shared: Arc<Pool>,
}

impl Upstream {
    /// An upstream whose servers are verified as `tls` says.
    pub fn new(tls: UpstreamTls) -> Self {
        Self {
            tls,
            shared: Arc::new(Pool::default()),
        }
    }

    /// The same for the pods of a node, whose shared connections are dialled [on their behalf](Dialler::own_for_pods).
    pub fn for_pods(tls: UpstreamTls) -> Self {
        Self {
            tls,
            shared: Arc::new(Pool::new(Dialler::own_for_pods())),
        }
    }

    /// The pool of the backends that share connections between workloads.
    pub(crate) fn shared_pool(&self) -> &Arc<Pool> {
        &self.shared
    }

    /// Sends a request, on an idle connection of `pool` or a new one, and waits for the head of the answer.
    ///
    /// A request that an idle connection did not take any byte of, because the server had just closed it, is sent again
    /// on another; one that might have reached the server never is.
    pub(crate) async fn send(
        &self,
        pool: &Arc<Pool>,
        route: &Arc<Route>,
        protocol: Protocol,
        timeouts: Timeouts,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        let Some(limit) = timeouts.first_byte else {
            return self
                .send_patiently(pool, route, protocol, timeouts.connect, request)
                .await;
        };
        let (request, silence) = first_byte::limited(request, limit);
        tokio::select! {
            answered = self.send_patiently(pool, route, protocol, timeouts.connect, request) => answered,
            () = silence => Err(UpstreamError::Silent { address: route.address.to_string(), limit }),
        }
    }

    async fn send_patiently(
        &self,
        pool: &Arc<Pool>,
        route: &Arc<Route>,
        protocol: Protocol,
        connect_limit: Option<Duration>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        loop {
            let (mut sender, reused) = self.sender(pool, route, protocol, connect_limit).await?;
            match sender.send(request).await {
                Ok(response) => return Ok((response, Lease::new(pool, route, protocol, sender))),
                Err(failure) => match failure.unsent {
                    Some(unsent) if reused => request = *unsent,
                    _ => return Err(UpstreamError::from_http(route, failure.error)),
                },
            }
        }
    }

    /// A connection that takes a request, and whether it has been there before.
    async fn sender(
        &self,
        pool: &Pool,
        route: &Arc<Route>,
        protocol: Protocol,
        connect_limit: Option<Duration>,
    ) -> Result<(Sender, bool), UpstreamError> {
        if let Some(sender) = pool.take(route, protocol) {
            return Ok((sender, true));
        }
        let opener = match protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => pool.opener(route).await,
        };
        // Whoever was waited for, or came first by a hair, may have opened it.
        if protocol == Protocol::Http2
            && let Some(sender) = pool.take(route, protocol)
        {
            if let Some(opener) = opener {
                opener.finish();
            }
            return Ok((sender, true));
        }
        // Boxed, for it is rare and large: inline it would make every exchange's future as large, and hyper keeps
        // the room for one with each idle connection.
        let connecting = connect::connect(pool.dialler(), route, protocol, &self.tls, connect_limit);
        let connected = Box::pin(connecting).await;
        if let Ok(sender) = &connected {
            pool.share(route, protocol, sender);
        }
        if let Some(opener) = opener {
            opener.finish();
        }
        let sender = connected?;
        Ok((sender, false))
    }
}
