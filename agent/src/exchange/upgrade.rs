//! A connection that stops speaking HTTP (101 Switching Protocols, RFC 9110 §15.2.2): its bytes are passed on as they come.

use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::response_body::Answer;
use super::settlement::Settlement;
use crate::telemetry::record::Outcome;

/// Both sides of a switch.
pub(super) struct Switch {
    client: OnUpgrade,
    server: OnUpgrade,
}

/// The answer that tells the client of the switch.
pub(super) fn switch(mut response: Response<Incoming>, client: OnUpgrade) -> Response<Answer> {
    let server = hyper::upgrade::on(&mut response);
    response.map(|_| Answer::switching(Switch { client, server }))
}

impl Switch {
    /// Passes bytes on until both sides have ended, then settles.
    pub(super) async fn run(self, mut settlement: Settlement) {
        let (client, server) = match tokio::try_join!(self.client, self.server) {
            Ok(sides) => sides,
            Err(_) => return settlement.settle(Outcome::Truncated, Some("weir_upstream_closed")),
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        // However one side ended, the other is closed with it; a switched protocol has no error of ours to carry.
        match copy_bidirectional(&mut client, &mut server).await {
            Ok(_) => settlement.settle(Outcome::Completed, None),
            Err(_) => settlement.settle(Outcome::Truncated, None),
        }
    }
}
