//! The predecessor's side: what it gives to the agent after it.

use std::os::fd::AsFd;
use std::time::Duration;

use weir_api::proto;

use super::message::{Body, Listener, Nothing, Refusal, Welcome};
use super::wire::Wire;
use super::{HandoverError, Identity};
use crate::capture::PodListener;

const GREETED_WITHIN: Duration = Duration::from_secs(5);
/// For a node full of pods: each has eight programs attached.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// An agent that has come for the pods, and is ready to be given them.
#[derive(Debug)]
pub struct Candidate {
    wire: Wire,
    version: String,
}

/// What became of a greeting.
pub(super) enum Greeted {
    Welcome(Candidate),
    Refused(Wire),
}

/// Hears who has come, and says whether it will be given the pods.
pub(super) async fn greet(
    mut wire: Wire,
    us: &Identity,
    configuration: Option<proto::Delta>,
) -> Result<Greeted, HandoverError> {
    let (Body::Hello(hello), _) = wire.receive_within(GREETED_WITHIN).await? else {
        return Err(HandoverError::Protocol("no hello"));
    };
    if let Some(why) = hello.objection(us) {
        tracing::warn!("no handover to an agent that has come for it: {why}");
        wire.send(Body::Refusal(Refusal { why })).await?;
        return Ok(Greeted::Refused(wire));
    }
    let welcome = Welcome {
        version: us.version.clone(),
        configuration,
    };
    wire.send(Body::Welcome(welcome)).await?;
    let version = hello.version;
    Ok(Greeted::Welcome(Candidate { wire, version }))
}

impl Candidate {
    /// Weir's version that it is of.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Waits until it has loaded its programs, and has a configuration.
    pub(super) async fn ready(&mut self) -> Result<(), HandoverError> {
        match self.wire.receive().await? {
            (Body::Ready(_), _) => Ok(()),
            _ => Err(HandoverError::Protocol("no word of being ready")),
        }
    }

    /// Gives it the listeners, and waits until it has the pods. If it fails we still have them.
    pub async fn give(&mut self, listeners: &[PodListener]) -> Result<(), HandoverError> {
        let outcome = tokio::time::timeout(TAKEN_WITHIN, self.try_to_give(listeners))
            .await
            .unwrap_or(Err(HandoverError::Silent(TAKEN_WITHIN.as_secs())));
        if let Err(error) = &outcome {
            // Where it is not gone, it must know that it has nothing.
            let why = error.to_string();
            let _ = self.wire.send(Body::Refusal(Refusal { why })).await;
        }
        outcome
    }

    async fn try_to_give(&mut self, listeners: &[PodListener]) -> Result<(), HandoverError> {
        for listener in listeners {
            let descriptors: Vec<_> = std::iter::once(&listener.v4)
                .chain(&listener.v6)
                .map(AsFd::as_fd)
                .collect();
            let body = Body::Listener(Listener::of(listener));
            self.wire.send_with(body, &descriptors).await?;
        }
        self.wire.send(Body::End(Nothing {})).await?;
        match self.wire.receive().await? {
            (Body::Taken(_), _) => Ok(()),
            _ => Err(HandoverError::Protocol("no word of having taken")),
        }
    }

    /// Tells it that we accept nothing any more.
    pub async fn done(mut self) -> Successor {
        // Where it is gone, that is seen next.
        let _ = self.wire.send(Body::Done(Nothing {})).await;
        Successor(self.wire)
    }
}

/// The agent that has the pods now.
#[derive(Debug)]
pub struct Successor(Wire);

impl Successor {
    /// Returns when it is gone: nobody has the pods any more.
    pub async fn gone(&mut self) {
        self.0.closed().await;
    }
}
