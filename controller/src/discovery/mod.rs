//! The gRPC service that agents are configured by: `weir.v1.Discovery`.

pub mod agents;
pub mod assemble;
pub mod delta;
pub mod explain;
pub mod stream;
pub mod token;
mod unseen;

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use weir_api::proto;
use weir_api::proto::discovery_server::{Discovery, DiscoveryServer};

use explain::KnownPods;
use stream::Sources;
use token::{Authenticator, Refusal};

/// An agent's messages are small: what it holds is named, not sent.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Messages on their way to one agent. Each is at most some megabytes, and an agent that does not read gets no more.
const ON_THEIR_WAY: usize = 2;

/// How long an agent has to take the reason why its stream ends.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The service.
pub struct Service {
    authenticator: Authenticator,
    sources: Sources,
    pods: KnownPods,
}

impl Service {
    /// Makes the server of it.
    pub fn server(authenticator: Authenticator, sources: Sources, pods: KnownPods) -> DiscoveryServer<Self> {
        DiscoveryServer::new(Self {
            authenticator,
            sources,
            pods,
        })
        .max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Who calls.
    async fn agent<M>(&self, request: &Request<M>) -> Result<token::Agent, Status> {
        if *self.sources.ending.borrow() {
            return Err(stream::ended());
        }
        let token = bearer(request.metadata()).ok_or(Refusal::NoToken)?;
        let agent = self.authenticator.agent(&token).await;
        agent
            .inspect_err(|refusal| tracing::warn!("an agent is refused: {refusal}"))
            .map_err(Status::from)
    }
}

#[tonic::async_trait]
impl Discovery for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<proto::ControllerMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<proto::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let agent = self.agent(&request).await?;
        let (outgoing, messages) = mpsc::channel(ON_THEIR_WAY);
        let sources = self.sources.clone();
        let authenticator = self.authenticator.clone();
        let incoming = request.into_inner();
        tokio::spawn(async move {
            let node = agent.node.clone();
            let is_there = |agent: &token::Agent| authenticator.is_there(agent);
            // The receiver goes when the agent has, however that happened: nothing of it outlives its connection.
            let served = tokio::select! {
                served = stream::serve(agent, is_there, sources, incoming, &outgoing) => served,
                () = outgoing.closed() => Ok(()),
            };
            match served {
                Ok(()) => tracing::info!(node, "an agent has left"),
                Err(status) => {
                    tracing::info!(node, "an agent's stream ends: {}", status.message());
                    // It may have left meanwhile, or read nothing any more: then there is nobody to tell.
                    let _ = tokio::time::timeout(TOLD_WITHIN, outgoing.send(Err(status))).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn explain(
        &self,
        request: Request<proto::PodQuestion>,
    ) -> Result<Response<proto::PodAnswer>, Status> {
        let agent = self.agent(&request).await?;
        let proto::PodQuestion { namespace, pod } = request.get_ref();
        Ok(Response::new(self.pods.answer(&agent.node, namespace, pod)))
    }
}

fn bearer(metadata: &tonic::metadata::MetadataMap) -> Option<SecretString> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("Bearer") && !token.trim().is_empty()).then(|| token.trim().into())
}
