//! Who an agent is: its service account token, asked of the API server, says on which node it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::{Api, PostParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::names::{AGENT_SERVICE_ACCOUNT, TOKEN_AUDIENCE};
use crate::watch::pod::{self, Pod};

/// Extra attributes that the API server gives to a token which is bound to a pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// From Kubernetes 1.30 on.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// A token is believed for no longer than this without being presented anew, whatever it says itself.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Why an agent is not let in. None says more of a token than that it is not good.
#[derive(Debug, Error)]
pub enum Refusal {
    /// There is none.
    #[error("no token: send the projected service account token as `authorization: Bearer …`")]
    NoToken,
    /// The API server does not know it, or it is over, or for somebody else's ears.
    #[error(
        "the token is not valid for audience {TOKEN_AUDIENCE} ({0}): project one with that audience, and read its file anew at each connection"
    )]
    NotValid(String),
    /// It is somebody else's.
    #[error("the token is {user}'s: only {wanted} is given configuration")]
    NotAnAgent {
        /// Whose it is.
        user: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It is not bound to a pod, so that it does not say on which node it is used.
    #[error("the token is not bound to a pod: use the projected one of the agent's own pod")]
    NotBound,
    /// The pod that it is bound to is gone, or another has taken its name.
    #[error(
        "the token is bound to pod {pod} (uid {uid}), which does not exist: it was deleted, or another has taken its name"
    )]
    NoSuchPod {
        /// The pod's name.
        pod: String,
        /// The pod's uid.
        uid: String,
    },
    /// It says that it is on another node than it is.
    #[error(
        "the token is bound to node {bound}, but the agent says that it runs on {said}: start it with --node {bound}"
    )]
    OtherNode {
        /// The node that the token is bound to.
        bound: String,
        /// The node that the agent has named.
        said: String,
    },
    /// It is over.
    #[error("the token has expired: connect again with the present one of its file")]
    Expired,
    /// The API server can't be asked.
    #[error("the API server can't be asked about the token: {0}; try again")]
    Unanswered(String),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::NoToken | Refusal::NotValid(_) | Refusal::Expired => Self::unauthenticated(message),
            Refusal::NotAnAgent { .. }
            | Refusal::NotBound
            | Refusal::NoSuchPod { .. }
            | Refusal::OtherNode { .. } => Self::permission_denied(message),
            Refusal::Unanswered(_) => Self::unavailable(message),
        }
    }
}

/// An agent that has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The node that its token is bound to.
    pub node: String,
    /// Its pod's name.
    pub pod: String,
    /// Its pod's uid.
    pub pod_uid: String,
    /// When its token ends.
    pub until: SystemTime,
}

const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Questions to the API server under way at once: whoever opens streams with bad tokens must not keep it busy.
const QUESTIONS: usize = 16;

/// Asks the API server about tokens.
#[derive(Clone)]
pub struct Authenticator {
    client: Client,
    namespace: String,
    pods: Store<Pod>,
    questions: Arc<Semaphore>,
}

impl Authenticator {
    /// For agents in our own `namespace`.
    pub fn new(client: Client, namespace: String, pods: Store<Pod>) -> Self {
        Self {
            client,
            namespace,
            pods,
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// Whether an agent's pod is still there, as far as is known.
    pub fn is_there(&self, agent: &Agent) -> bool {
        let key = ObjectRef::new_with(&agent.pod, pod::resource()).within(&self.namespace);
        let found = self.pods.get(&key);
        found.is_some_and(|pod| pod.uid().as_deref() == Some(&agent.pod_uid))
    }

    /// Who presents `token`.
    pub async fn agent(&self, token: &SecretString) -> Result<Agent, Refusal> {
        // It is never closed.
        let _question = self.questions.acquire().await;
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
                token: Some(token.expose_secret().to_owned()),
            },
            ..TokenReview::default()
        };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let reviewed = answered(reviews.create(&PostParams::default(), &review)).await?;
        let bound = bound_pod(&reviewed.status.unwrap_or_default(), &self.namespace)?;
        let node = self.node_of(&bound).await?;
        if bound.node.as_ref().is_some_and(|said| *said != node) {
            return Err(Refusal::NoSuchPod {
                pod: bound.pod,
                uid: bound.uid,
            });
        }
        let now = SystemTime::now();
        let until = expiry(token.expose_secret()).map_or(now, |expiry| expiry.min(now + BELIEVED_FOR));
        if until <= now {
            return Err(Refusal::Expired);
        }
        Ok(Agent {
            node,
            pod: bound.pod,
            pod_uid: bound.uid,
            until,
        })
    }

    /// Where the pod runs: as far as is known here, else as the API server says, for the pod may be younger than what is known.
    async fn node_of(&self, bound: &BoundPod) -> Result<String, Refusal> {
        let no_such_pod = || Refusal::NoSuchPod {
            pod: bound.pod.clone(),
            uid: bound.uid.clone(),
        };
        let key = ObjectRef::new_with(&bound.pod, pod::resource()).within(&self.namespace);
        let known = self
            .pods
            .get(&key)
            .filter(|pod| pod.uid().as_deref() == Some(&bound.uid));
        let node = match known.and_then(|pod| pod.spec.node_name.clone()) {
            Some(node) => Some(node),
            None => {
                let pods =
                    Api::<Pod>::namespaced_with(self.client.clone(), &self.namespace, &pod::resource());
                answered(pods.get_opt(&bound.pod))
                    .await?
                    .filter(|pod| pod.uid().as_deref() == Some(&bound.uid))
                    .and_then(|pod| pod.spec.node_name)
            }
        };
        node.ok_or_else(no_such_pod)
    }
}

async fn answered<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, Refusal> {
    match tokio::time::timeout(ANSWERED_WITHIN, question).await {
        Ok(answer) => answer.map_err(|error| Refusal::Unanswered(error.to_string())),
        Err(_) => Err(Refusal::Unanswered("it does not answer".to_owned())),
    }
}

/// The pod that a token is bound to.
#[derive(Debug, PartialEq, Eq)]
struct BoundPod {
    pod: String,
    uid: String,
    node: Option<String>,
}

/// What the API server says of a token, where it is an agent's.
fn bound_pod(status: &TokenReviewStatus, namespace: &str) -> Result<BoundPod, Refusal> {
    if status.authenticated != Some(true) {
        let why = status.error.clone().unwrap_or_else(|| "not known".to_owned());
        return Err(Refusal::NotValid(why));
    }
    // An API server that knows nothing of audiences says none: then the token may be for anybody.
    let audiences = status.audiences.as_deref().unwrap_or_default();
    if !audiences.iter().any(|audience| audience == TOKEN_AUDIENCE) {
        return Err(Refusal::NotValid("it is for another audience".to_owned()));
    }
    let user = status.user.clone().unwrap_or_default();
    let username = user.username.unwrap_or_default();
    let wanted = format!("system:serviceaccount:{namespace}:{AGENT_SERVICE_ACCOUNT}");
    if username != wanted {
        return Err(Refusal::NotAnAgent {
            user: username,
            wanted,
        });
    }
    let extra: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
    let one = |name: &str| match extra.get(name).map(Vec::as_slice) {
        Some([value]) if !value.is_empty() => Some(value.clone()),
        _ => None,
    };
    match (one(POD_NAME), one(POD_UID)) {
        (Some(pod), Some(uid)) => Ok(BoundPod {
            pod,
            uid,
            node: one(NODE_NAME),
        }),
        _ => Err(Refusal::NotBound),
    }
}

/// When a token ends, as it says itself. The API server has checked its signature before; its answer lacks the time.
fn expiry(token: &str) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: u64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
