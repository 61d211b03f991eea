//! The successor's side: what it asks of the agent before it.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use weir_api::proto;

use super::message::{Body, Hello, Nothing};
use super::wire::Wire;
use super::{HandoverError, Identity};
use crate::capture::PodListener;

/// An agent that is well answers at once; one that hangs has no pods any more, for its heartbeat is late.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// For a node full of pods.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);

/// What became of the question.
#[derive(Debug)]
pub enum Answer {
    /// Nobody has the node's pods.
    Nobody,
    /// Somebody has, and will hand them over.
    Welcome(Predecessor),
    /// Somebody has, and will not hand them over, for this reason. They are free once it has ended.
    Refused(String, Standby),
}

/// Asks whoever has the node's pods for them.
pub async fn ask(door: &Path, us: &Identity) -> Answer {
    let outcome = async {
        let stream = UnixStream::connect(door).await.map_err(HandoverError::Gone)?;
        let mut wire = Wire::new(stream).map_err(HandoverError::Gone)?;
        wire.send(Body::Hello(Hello::of(us))).await?;
        match wire.receive().await?.0 {
            Body::Welcome(welcome) => Ok(Answer::Welcome(Predecessor {
                wire,
                version: welcome.version,
                configuration: welcome.configuration,
            })),
            Body::Refusal(refusal) => Ok(Answer::Refused(refusal.why, Standby(wire))),
            _ => Err(HandoverError::Protocol("neither a welcome nor a refusal")),
        }
    };
    let outcome = tokio::time::timeout(ANSWERED_WITHIN, outcome)
        .await
        .unwrap_or(Err(HandoverError::Silent(ANSWERED_WITHIN.as_secs())));
    match outcome {
        Ok(answer) => answer,
        Err(error) => {
            if !is_nobody(&error) {
                tracing::warn!(
                    "no handover: {}: {error}; starting from what is pinned",
                    door.display()
                );
            }
            Answer::Nobody
        }
    }
}

/// There never was an agent, or it has ended.
fn is_nobody(error: &HandoverError) -> bool {
    matches!(error, HandoverError::Gone(error)
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}

/// The agent that has the node's pods, and hands them over.
#[derive(Debug)]
pub struct Predecessor {
    wire: Wire,
    version: String,
    configuration: Option<proto::Delta>,
}

impl Predecessor {
    /// Weir's version that it is of.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it serves from; keys included. None if it has none.
    pub fn take_configuration(&mut self) -> Option<proto::Delta> {
        self.configuration.take()
    }

    /// Returns when it is gone.
    pub async fn gone(&mut self) {
        self.wire.closed().await;
    }

    /// Its pods' listeners. It neither enrols nor releases any from here on, and goes on accepting.
    pub async fn listeners(&mut self) -> Result<Vec<PodListener>, HandoverError> {
        self.wire.send(Body::Ready(Nothing {})).await?;
        let mut listeners = Vec::new();
        loop {
            match self.wire.receive_within(GIVEN_WITHIN).await? {
                (Body::Listener(listener), descriptors) => listeners.push(listener.with(descriptors)?),
                (Body::End(_), _) => return Ok(listeners),
                (Body::Refusal(refusal), _) => return Err(HandoverError::GivenUp(refusal.why)),
                _ => return Err(HandoverError::Protocol("no listener")),
            }
        }
    }

    /// Tells it that we have the pods. It stands by from there on, or ends; whoever drops the value lets it take them back.
    ///
    /// An agent that is gone in this moment, or hangs, has none either; only one that has given up still has them.
    pub async fn taken(mut self) -> Result<Standby, HandoverError> {
        let answer = match self.wire.send(Body::Taken(Nothing {})).await {
            Ok(()) => self.wire.receive_within(GIVEN_WITHIN).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok((Body::Done(_), _)) | Err(HandoverError::Gone(_) | HandoverError::Silent(_)) => {
                Ok(Standby(self.wire))
            }
            Ok((Body::Refusal(refusal), _)) => Err(HandoverError::GivenUp(refusal.why)),
            Ok(_) => Err(HandoverError::Protocol("no word of being done")),
            Err(error) => Err(error),
        }
    }
}

/// Another agent that runs beside us.
#[derive(Debug)]
pub struct Standby(Wire);

impl Standby {
    /// Returns when it is gone.
    pub async fn gone(&mut self) {
        self.0.closed().await;
    }
}
