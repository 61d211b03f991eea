//! What `helm uninstall` runs before it deletes anything: asks the controller to release all pods, and waits until that is so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::order::{ANSWERED, ASKED, LEFT};
use crate::names::{CONTROLLER, RETIRING};
use crate::trust::owner::MANAGED_BY;
use crate::watch::follow::follow;

/// Who the API server is told has made the ConfigMap: the answer's fields are the controller's.
const JOB: &str = "weir-retire";

/// Options of `weir-controller retire`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The namespace that the controller and the agents are in.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub namespace: String,
    /// How long to wait until all pods are released.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = weir_api::duration)]
    pub limit: Duration,
    /// The release's name, for what is said.
    #[arg(long, value_name = "NAME", default_value = "weir")]
    pub release: String,
}

/// Why nothing may be deleted yet.
#[derive(Debug, Error)]
pub enum RetireError {
    /// The API server refuses.
    #[error("ConfigMap {RETIRING}: {0}")]
    Api(#[from] kube::Error),
    /// Signals can't be heard.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// No replica has answered.
    #[error("{0}")]
    NoAnswer(String),
    /// Some nodes are not done.
    #[error("{0}")]
    Left(String),
}

/// What the controller has said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    None,
    /// A line for each node that is not done.
    Left(String),
}

/// Asks, and returns when all pods are released.
///
/// # Errors
/// When they are not within the limit. The order stays then, so that what is released stays so; but one that nobody has answered is
/// taken back, for there is nobody who would see to it that it goes with the release.
pub async fn run(client: Client, arguments: &Arguments) -> Result<(), RetireError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let config_maps = Api::<ConfigMap>::default_namespaced(client);
    let asked = Timestamp::now().to_string();
    ask(&config_maps, &asked).await?;
    let (told, mut answers) = watch::channel(Answer::None);
    let following = follow(config_maps.clone(), RETIRING, |map| {
        let data = map.object().and_then(|map| map.data).unwrap_or_default();
        let now = answer(&data, &asked);
        told.send_if_modified(|last| {
            let is_changed = *last != now;
            *last = now;
            is_changed
        });
    });
    let is_done = |answer: &Answer| matches!(answer, Answer::Left(left) if left.is_empty());
    tokio::select! {
        _ = answers.wait_for(is_done) => return Ok(()),
        () = following => {}
        () = tokio::time::sleep(arguments.limit) => {}
        _ = terminate.recv() => {}
    }
    let last = told.borrow().clone();
    match last {
        Answer::None => {
            config_maps.delete(RETIRING, &DeleteParams::default()).await?;
            Err(RetireError::NoAnswer(no_answer(arguments)))
        }
        Answer::Left(left) => Err(RetireError::Left(not_done(arguments, &left))),
    }
}

async fn ask(config_maps: &Api<ConfigMap>, asked: &str) -> kube::Result<()> {
    let labels = [("app.kubernetes.io/name", "weir"), (MANAGED_BY, CONTROLLER)];
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(RETIRING.to_owned()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(ASKED.to_owned(), asked.to_owned())])),
        ..ConfigMap::default()
    };
    let parameters = PatchParams::apply(JOB).force();
    config_maps
        .patch(RETIRING, &parameters, &Patch::Apply(&map))
        .await
        .map(|_| ())
}

fn answer(data: &BTreeMap<String, String>, asked: &str) -> Answer {
    match data.get(ANSWERED) {
        Some(answered) if answered == asked => Answer::Left(data.get(LEFT).cloned().unwrap_or_default()),
        _ => Answer::None,
    }
}

fn no_answer(arguments: &Arguments) -> String {
    let Arguments {
        namespace, release, ..
    } = arguments;
    format!(
        "no controller has answered, so nothing was deleted.
See why: kubectl --namespace {namespace} get pods --selector app.kubernetes.io/component=controller
then: helm uninstall {release} --namespace {namespace}"
    )
}

fn not_done(arguments: &Arguments, left: &str) -> String {
    let Arguments {
        namespace, release, ..
    } = arguments;
    format!(
        "these nodes are not done, so nothing was deleted:
{}The pods of all other nodes are released, and stay so. For each of these nodes, one of
- mend its agent (kubectl --namespace {namespace} get pods --output wide), then: helm uninstall {release} --namespace {namespace}
- if it is gone for good: kubectl delete node NODE, then the same
- run `weir agent --remove` there as root (docs/uninstall.md has a pod for it), then: helm uninstall {release} --namespace {namespace} --no-hooks",
        indented(left)
    )
}

fn indented(lines: &str) -> String {
    lines.lines().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_somebody_else_is_none() {
        let data = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        let before = data(&[(ASKED, "2"), (ANSWERED, "1"), (LEFT, "")]);
        assert_eq!(answer(&before, "2"), Answer::None);
        let done = data(&[(ASKED, "2"), (ANSWERED, "2"), (LEFT, "")]);
        assert_eq!(answer(&done, "2"), Answer::Left(String::new()));
        let left = data(&[(ASKED, "2"), (ANSWERED, "2"), (LEFT, "node n1: …\n")]);
        assert_eq!(answer(&left, "2"), Answer::Left("node n1: …\n".to_owned()));
        assert_eq!(answer(&data(&[]), "2"), Answer::None);
    }
}
