//! A connection to the controller, and who we are on it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use weir_api::proto::{self, discovery_client::DiscoveryClient};
use zeroize::Zeroizing;

use super::{ControllerError, ControllerSettings};

/// A stream may be silent for days, so a dead peer is noticed by pings.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For one question: whoever asks is waiting.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

impl ControllerSettings {
    /// Asks the controller about a pod of this node. Calls it anew, with the token as its file has it now.
    pub async fn explain(&self, namespace: &str, pod: &str) -> Result<proto::PodAnswer, ControllerError> {
        let question = proto::PodQuestion {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
        };
        let mut request = Request::new(question);
        request
            .metadata_mut()
            .insert("authorization", self.authorization()?);
        let asked = async {
            let mut client = DiscoveryClient::new(self.connect().await?);
            let answer = client.explain(request).await;
            answer.map_err(|status| ControllerError::Status(Box::new(status)))
        };
        match tokio::time::timeout(ANSWER_LIMIT, asked).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(ControllerError::Silent(ANSWER_LIMIT)),
        }
    }

    pub(super) async fn connect(&self) -> Result<Channel, ControllerError> {
        let address = self.address.clone();
        let unreachable = |error| ControllerError::Unreachable {
            address: address.clone(),
            error,
        };
        let authorities = Certificate::from_pem(read(&self.authorities)?.as_slice());
        let tls = ClientTlsConfig::new().ca_certificate(authorities);
        Endpoint::from(self.address.clone())
            .tls_config(tls)
            .map_err(unreachable)?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(unreachable)
    }

    pub(super) fn authorization(&self) -> Result<MetadataValue<Ascii>, ControllerError> {
        let path = &self.token;
        let invalid = || ControllerError::Token(path.clone());
        let token = read(path)?;
        let token = std::str::from_utf8(&token).map_err(|_| invalid())?.trim();
        let mut value = MetadataValue::try_from(Zeroizing::new(format!("Bearer {token}")).as_str())
            .map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ControllerError> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| ControllerError::File {
            path: path.to_owned(),
            error,
        })
}
