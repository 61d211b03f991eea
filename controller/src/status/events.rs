//! Events of pods: that a program of theirs does not trust our certificate. Told by the replica that its node's agent is connected to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt};
use weir_api::proto::Distrust;

use crate::discovery::agents::Agents;
use crate::names::CONTROLLER;
use crate::watch::pod::Pod;
use crate::watch::stores::Stores;

/// Reports come in swarms when a deployment restarts.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// A note is at most 1 KiB, and what is in it comes from a pod.
const COMMAND_CHARACTERS: usize = 64;

/// Tells of each rejection once for as long as it is reported. Never returns.
pub async fn run(client: Client, agents: Agents, stores: Stores, replica: String) {
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(replica),
    };
    let recorder = Recorder::new(client, reporter);
    let mut changes = agents.changes();
    let mut told = BTreeSet::new();
    loop {
        changes.mark_unchanged();
        let mut distrusts: Vec<(String, Distrust)> = Vec::new();
        for state in agents.states() {
            let of_node = state.distrusts.into_iter();
            distrusts.extend(of_node.map(|distrust| (state.node.clone(), distrust)));
        }
        let reported: BTreeSet<_> = distrusts.iter().map(|(_, distrust)| key(distrust)).collect();
        told.retain(|told| reported.contains(told));
        distrusts.retain(|(_, distrust)| !told.contains(&key(distrust)));
        let pods = pods(&stores, &distrusts);
        for (node, distrust) in &distrusts {
            if told.contains(&key(distrust)) {
                continue; // another agent of the node has reported it too
            }
            // An agent speaks for the pods of its own node.
            let is_its_own = |pod: &&Arc<Pod>| pod.spec.node_name.as_ref() == Some(node);
            let Some(pod) = pods.get(&distrust.pod_uid).filter(is_its_own) else {
                continue; // it has gone, or is not known yet: its agent reports it again
            };
            let reference = ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: pod.namespace(),
                name: Some(pod.name_any()),
                uid: pod.uid(),
                ..ObjectReference::default()
            };
            match recorder.publish(&event(distrust), &reference).await {
                Ok(()) => {
                    told.insert(key(distrust));
                }
                Err(error) => tracing::warn!(
                    "an event of pod {}/{}: {error}",
                    pod.namespace().unwrap_or_default(),
                    pod.name_any()
                ),
            }
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
        // The sender lives as long as a handle does, and this has one.
        let _ = changes.changed().await;
    }
}

/// The pods that are told of, by uid. All pods are looked through once, and only if there is something to tell.
fn pods(stores: &Stores, distrusts: &[(String, Distrust)]) -> BTreeMap<String, Arc<Pod>> {
    let uids: BTreeSet<&str> = distrusts
        .iter()
        .map(|(_, distrust)| distrust.pod_uid.as_str())
        .collect();
    if uids.is_empty() {
        return BTreeMap::new();
    }
    let all = stores.pods.state().into_iter();
    all.filter_map(|pod| Some((pod.uid()?, pod)))
        .filter(|(uid, _)| uids.contains(uid.as_str()))
        .collect()
}

fn key(distrust: &Distrust) -> (String, String, String) {
    (
        distrust.pod_uid.clone(),
        distrust.host.clone(),
        distrust.command.clone(),
    )
}

fn event(distrust: &Distrust) -> Event {
    let command: String = distrust
        .command
        .chars()
        .filter(|character| !character.is_control())
        .take(COMMAND_CHARACTERS)
        .collect();
    let note = format!(
        "\"{command}\" does not trust Weir's certificate for {}, so its calls there are not counted: it has roots of its own, by its code or by a variable such as SSL_CERT_FILE. \
         Give it those in /etc/weir/trust/ca-bundle.crt, or label the pod weir.dev/intercept=disabled",
        distrust.host
    );
    Event {
        type_: EventType::Warning,
        reason: "CertificateRejected".to_owned(),
        note: Some(note),
        action: "Intercept".to_owned(),
        secondary: None,
    }
}
