//! One request's life: match, admit, forward, observe, settle.

mod admit;
mod event_boundary;
mod headers;
pub(crate) mod host;
mod idle;
mod permission;
mod prepared;
mod refusal;
mod request_body;
mod reshape;
mod response_body;
mod settlement;
mod unread;
mod upgrade;

pub(crate) use admit::MOST_HEAD_BYTES;
pub(crate) use response_body::AnswerBody;
pub(crate) use unread::Answered;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use weir_api::Backend;

use crate::policy::SnapshotHandle;
use crate::telemetry::Telemetry;
use crate::telemetry::record::{Outcome, Workload};
use crate::upstream::{Dialler, Pool, Protocol, Upstream};
use admit::Admission;
use permission::DeniedModel;
use prepared::{Prepared, Standing};
use refusal::Refusal;
use settlement::Settlement;
use unread::Refused;

/// What every exchange of a workload needs.
#[derive(Debug)]
pub struct Services {
    /// Who is calling.
    pub workload: Arc<Workload>,
    /// The configuration.
    pub snapshot: SnapshotHandle,
    /// Where exchanges are settled.
    pub telemetry: Telemetry,
    /// The way to the providers, shared by all workloads.
    pub upstream: Arc<Upstream>,
    /// Dials this workload's own connections.
    pub dialler: Dialler,
}

/// A connection whose requests are served here, because a backend answers for the host that the app named.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) services: Arc<Services>,
    /// The host that the app named: lower case, no port.
    pub(crate) host: Arc<str>,
    /// Where requests go unless the backend has an endpoint of its own.
    pub(crate) origin: SocketAddr,
    /// The HTTP version agreed on with the client.
    pub(crate) protocol: Protocol,
    /// What the app opened ends with it: its connections to the provider too.
    pool: Arc<Pool>,
    /// What was worked out from the configuration as it stood last.
    standing: Mutex<Standing>,
}

impl Connection {
    /// `backend` is the one that answered for the host when the connection was sorted.
    pub(crate) fn new(
        services: Arc<Services>,
        backend: &Arc<Backend>,
        host: Arc<str>,
        origin: SocketAddr,
        protocol: Protocol,
    ) -> Arc<Self> {
        let standing = Mutex::new(Standing::new(&services, backend, &host, origin));
        Arc::new(Self {
            pool: Arc::new(Pool::new(services.dialler.clone())),
            services,
            host,
            origin,
            protocol,
            standing,
        })
    }

    /// Serves one request. Whatever goes wrong, the client gets an answer in the dialect of its host.
    pub(crate) async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Answered {
        let (prepared, stands) = self.prepared();
        let mut settlement = Settlement::begin(&self, &prepared, &request);
        let outcome = if stands {
            self.exchange(&prepared, request, &mut settlement).await
        } else {
            Err(Refused::unread(
                Refusal::BackendRemoved(self.host.to_string()),
                request,
            ))
        };
        match outcome {
            Ok(response) => Answered::whole(response.map(|answer| answer.settled_by(settlement))),
            Err(refused) => {
                let response = refused.refusal.response(settlement.dialect());
                settlement.refused(&refused.refusal, response.status());
                refused.answered(response, self.protocol)
            }
        }
    }

    async fn exchange(
        &self,
        prepared: &Prepared,
        request: Request<Incoming>,
        settlement: &mut Settlement,
    ) -> Result<Response<response_body::Answer>, Box<Refused>> {
        let Admission {
            request,
            body,
            upgrade,
        } = admit::admit(self, prepared, settlement.endpoint(), request)?;
        let request = body
            .prepare(
                request,
                settlement.endpoint(),
                prepared.backend.provider,
                &prepared.policy,
            )
            .await;
        let (request, sight) = request?;
        settlement.watch(sight);
        let pool = match prepared.dial {
            weir_api::Dial::Pod => &self.pool,
            weir_api::Dial::Node => self.services.upstream.shared_pool(),
        };
        let sent = self
            .services
            .upstream
            .send(
                pool,
                &prepared.route,
                self.protocol,
                prepared.policy.timeouts(),
                request,
            )
            .await;
        let (response, lease) = sent.map_err(|error| match settlement.denied_model() {
            Some(denied) => Refusal::ModelDenied(denied),
            None => Refusal::from_upstream(&self.host, error),
        })?;
        settlement.answered(response.status());
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            let client = upgrade.ok_or(Refusal::UnaskedSwitch)?;
            return Ok(upgrade::switch(response, client));
        }
        let idle = prepared.policy.timeouts().idle;
        Ok(response_body::observe(self, response, lease, idle, settlement)?)
    }

    /// What the configuration means for this connection, as it stands now or, where no backend answers for its host any more, as it stood last;
    /// and whether one does.
    fn prepared(&self) -> (Arc<Prepared>, bool) {
        let mut standing = self.standing.lock();
        standing.renew(&self.services, &self.host, self.origin);
        (Arc::clone(&standing.prepared), standing.stands)
    }
}

impl Settlement {
    fn refused(mut self, refusal: &Refusal, status: http::StatusCode) {
        self.answered(status);
        if let Refusal::ModelDenied(DeniedModel {
            model: Some(model), ..
        }) = refusal
        {
            self.asked_for(model);
        }
        let outcome = if refusal.is_upstreams() {
            Outcome::UpstreamError
        } else if refusal.is_clients() {
            Outcome::ClientGone
        } else {
            Outcome::Denied
        };
        self.settle(outcome, Some(refusal.code()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use hyper::body::Incoming;

    use super::Connection;

    /// It is allocated and moved for each request.
    #[test]
    fn an_exchange_takes_little() {
        fn size_of_future<F>(_: impl FnOnce(Arc<Connection>, Request<Incoming>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_future(Connection::serve);
        assert!(size <= 3 * 1024, "{size} bytes");
    }
}
