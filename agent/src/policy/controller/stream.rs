//! One stream: Hello, then deltas and their acknowledgements.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use weir_api::proto::{self, agent_message::Message, discovery_client::DiscoveryClient};

use super::held::Held;
use super::{AgentReport, ControllerError, ControllerSettings, Taking};

/// The longest message that is taken. The controller cuts large changes into several.
const MOST_MESSAGE_BYTES: usize = 16 << 20;

/// Reports that the controller has not taken yet. More wait.
const OUTGOING: usize = 16;

/// Between two reports.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// An attempt at a stream.
pub(super) struct Session<'a> {
    pub(super) settings: &'a ControllerSettings,
    pub(super) held: &'a Mutex<Held>,
    pub(super) taking: &'a Taking,
    pub(super) reports: &'a mut watch::Receiver<AgentReport>,
    /// Whether a configuration was taken from it.
    pub(super) progressed: bool,
}

impl Session<'_> {
    /// Runs until the stream ends, and says why it did.
    pub(super) async fn run(&mut self) -> ControllerError {
        match self.serve().await {
            Ok(()) => ControllerError::Closed,
            Err(error) => error,
        }
    }

    async fn serve(&mut self) -> Result<(), ControllerError> {
        let mut client = DiscoveryClient::new(self.settings.connect().await?)
            .max_decoding_message_size(MOST_MESSAGE_BYTES);
        let (outgoing, mut messages) = mpsc::channel(OUTGOING);
        let stream = futures_util::stream::poll_fn(move |context| messages.poll_recv(context));
        let mut request = tonic::Request::new(stream);
        let authorization = self.settings.authorization()?;
        request.metadata_mut().insert("authorization", authorization);
        // Before the call: a server may answer nothing before it has heard this.
        let hello = Message::Hello(proto::Hello {
            node: self.settings.node.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            held: self.held.lock().versions(),
        });
        send(&outgoing, hello).await?;
        let status = |status| ControllerError::Status(Box::new(status));
        let mut incoming = client.stream(request).await.map_err(status)?.into_inner();
        self.taking.link.connected();
        self.reports.mark_changed();
        let mut next_report = Instant::now();
        loop {
            // The pause first: a message that comes meanwhile drops this, and a change that was seen already would be lost with it.
            let report = async {
                tokio::time::sleep_until(next_report).await;
                // An error: nobody will report any more.
                if self.reports.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let received = tokio::select! {
                received = incoming.message() => Some(received.map_err(status)?),
                () = report => None,
            };
            match received {
                Some(None) => return Ok(()),
                Some(Some(message)) => {
                    let acknowledgement = self.take(message.delta.unwrap_or_default());
                    send(&outgoing, Message::Acknowledgement(acknowledgement)).await?;
                }
                None => {
                    let report = self.reports.borrow_and_update().clone();
                    next_report = Instant::now() + REPORT_PAUSE;
                    let report = proto::Report {
                        captured_pods: report.captured_pods,
                        distrusts: report.distrusts,
                    };
                    send(&outgoing, Message::Report(report)).await?;
                }
            }
        }
    }

    fn take(&mut self, mut delta: proto::Delta) -> proto::Acknowledgement {
        let rejections = {
            let mut held = self.held.lock();
            let mut rejections = held.apply(&mut delta);
            if delta.snapshot_done {
                rejections.extend(self.taking.take(&held));
            }
            rejections
        };
        self.progressed |= delta.snapshot_done;
        for rejection in &rejections {
            tracing::error!(
                "rejected: {} {}: {}",
                rejection.kind().as_str_name(),
                rejection.name,
                rejection.message
            );
        }
        proto::Acknowledgement {
            nonce: delta.nonce,
            rejections,
        }
    }
}

async fn send(outgoing: &mpsc::Sender<proto::AgentMessage>, message: Message) -> Result<(), ControllerError> {
    let message = proto::AgentMessage {
        message: Some(message),
    };
    outgoing.send(message).await.map_err(|_| ControllerError::Closed)
}
