//! Secrets that the controller makes once and all replicas share: whoever comes first makes it, the others take what is there.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use thiserror::Error;

use super::authority::AuthorityError;
use super::owner::Ownership;

/// `data` of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Why there is no such Secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The API server refuses, or can't be asked. Worth another try.
    #[error("Secret {name}: {source}")]
    Api {
        /// The Secret's name.
        name: String,
        /// What it said.
        source: kube::Error,
    },
    /// What should be in it can't be made, or what is in it is not usable.
    #[error("Secret {name}: {source}")]
    Content {
        /// The Secret's name.
        name: String,
        /// What is wrong.
        source: AuthorityError,
    },
}

/// What is to become of a Secret's present content; `None`: there is no such Secret.
pub enum Verdict<T> {
    /// It is good.
    Good(T),
    /// This is to be there instead.
    Make(Data),
}

/// Reads the Secret and, where `judge` says so, makes or replaces it. Of several replicas that do so at once one comes first; the others
/// judge what that one has made.
pub async fn ensure<T>(
    client: &Client,
    name: &str,
    ownership: &Ownership,
    judge: impl Fn(Option<&Data>) -> Result<Verdict<T>, AuthorityError>,
) -> Result<T, SecretError> {
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let api_error = |source| SecretError::Api {
        name: name.to_owned(),
        source,
    };
    loop {
        let found = secrets.get_opt(name).await.map_err(api_error)?;
        let data = found
            .as_ref()
            .map(|secret| secret.data.clone().unwrap_or_default());
        let verdict = judge(data.as_ref()).map_err(|source| SecretError::Content {
            name: name.to_owned(),
            source,
        })?;
        let data = match verdict {
            Verdict::Good(value) => return Ok(value),
            Verdict::Make(data) => Some(data),
        };
        let written = match found {
            // With the version that it was read at: a replica that has been faster is not overwritten.
            Some(found) => {
                let secret = Secret { data, ..found };
                secrets.replace(name, &PostParams::default(), &secret).await
            }
            None => {
                let secret = Secret {
                    metadata: ownership.metadata(name),
                    data,
                    type_: Some("Opaque".to_owned()),
                    ..Secret::default()
                };
                secrets.create(&PostParams::default(), &secret).await
            }
        };
        match written {
            Ok(_) => tracing::info!("Secret {name} was written"),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::debug!("Secret {name}: another replica came first");
            }
            Err(error) => return Err(api_error(error)),
        }
    }
}

/// A value of the Secret, empty where there is none.
pub fn value<'a>(data: &'a Data, key: &str) -> &'a [u8] {
    data.get(key).map(|value| value.0.as_slice()).unwrap_or_default()
}

/// Values by key.
pub fn data<const N: usize>(values: [(&str, &[u8]); N]) -> Data {
    values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.to_vec())))
        .collect()
}
