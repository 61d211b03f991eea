//! `status` of AIBackends and AIPolicies, written by the Lease's holder, and only where it says something else than before.

pub mod conditions;
pub mod events;
pub mod programmed;
pub mod replicas;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use weir_api::{ObjectName, proto};

use crate::configuration::Configuration;
use crate::discovery::agents::Agents;
use crate::discovery::assemble::Key;
use crate::names::FIELD_MANAGER;
use crate::retire::left;
use crate::retire::order::{Answers, Order, Ordered};
use crate::trust::owner::Ownership;
use crate::watch::placed::NodeWorkloads;
use crate::watch::stores::Stores;
use programmed::{Programmed, Wanted};
use replicas::Replicas;

/// Agents take a change one after the other; that is told once, not once an agent.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// By then every agent is back that was connected to a controller which has ended: its longest pause before it tries again, and some.
const AGENTS_BACK_WITHIN: Duration = Duration::from_secs(45);
/// What could not be written is tried again.
const RETRIED_AFTER: Duration = Duration::from_secs(5);

/// What statuses are made of.
pub struct Sources {
    /// What each node runs, and what the objects come to.
    pub workloads: NodeWorkloads,
    /// Who has taken what.
    pub agents: Agents,
    /// The objects.
    pub stores: Stores,
    /// Whether all pods are to be released.
    pub ordered: Ordered,
    /// Whether this replica holds the Lease.
    pub is_holder: watch::Receiver<bool>,
    /// What this replica is called.
    pub replica: String,
    /// Whose what it writes is.
    pub ownership: Ownership,
    /// The namespace that the agents are in.
    pub own_namespace: String,
}

/// Keeps the statuses. Never returns.
pub async fn run(client: Client, mut sources: Sources) {
    let mut tasks = JoinSet::new();
    let (mut replicas, mut replica_changes) =
        Replicas::new(&client, sources.ownership.clone(), &sources.replica, &mut tasks).await;
    let mut agent_changes = sources.agents.changes();
    let mut object_changes = sources.stores.objects_changed.subscribe();
    let mut workload_changes = sources.workloads.changes();
    let mut pod_changes = sources.stores.pods_changed.subscribe();
    let mut answers = Answers::default();
    // Until when agents may be on their way here from a replica that has ended, the holder before this one or any other.
    let mut settles_at = Instant::now();
    let (mut was_holder, mut others_before) = (false, 0);
    loop {
        agent_changes.mark_unchanged();
        object_changes.mark_unchanged();
        workload_changes.mark_unchanged();
        pod_changes.mark_unchanged();
        replica_changes.mark_unchanged();
        let is_holder = *sources.is_holder.borrow_and_update();
        let others = replicas.others();
        if (is_holder && !was_holder) || others.len() < others_before {
            settles_at = Instant::now() + AGENTS_BACK_WITHIN;
        }
        (was_holder, others_before) = (is_holder, others.len());
        let is_settling = Instant::now() < settles_at;
        let order = sources.ordered.borrow_and_update().clone();
        let asked = order.as_ref().and_then(Order::asked);
        let is_asked = asked.is_some();
        let mut has_failed = false;
        if let Some((configuration, workloads)) = sources.workloads.all() {
            let wanted = Wanted::new(&configuration, &workloads);
            let states = sources.agents.states();
            let mut summary = programmed::summary(&wanted, &states);
            summary.released = asked.map(|asked| left::released(asked, &states));
            let told = if is_holder {
                let mut summaries = others;
                summaries.push(summary);
                let programmed = programmed::programmed(&wanted, &summaries);
                let findings = Findings {
                    configuration: &configuration,
                    programmed: &programmed,
                    is_settling,
                };
                has_failed = !pass(&client, &sources, &findings).await;
                if let Some(asked) = asked {
                    let concerned = left::concerned(&sources.stores, &workloads, &sources.own_namespace);
                    let released: Vec<_> = summaries.into_iter().filter_map(|all| all.released).collect();
                    let left = left::left(concerned, &released, asked);
                    has_failed |= !answers.tell(&client, &sources.ownership, asked, &left).await;
                }
                replicas.take_back().await
            } else {
                answers = Answers::default();
                replicas.tell(summary).await
            };
            if let Err(error) = told {
                tracing::warn!("this replica can't tell the others what its agents have taken: {error}");
                has_failed = true;
            }
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
        tokio::select! {
            _ = agent_changes.changed() => {}
            _ = object_changes.changed() => {}
            _ = workload_changes.changed() => {}
            _ = replica_changes.changed() => {}
            // An agent that comes or goes matters only to who waits for it.
            _ = pod_changes.changed(), if is_asked => {}
            changed = sources.ordered.changed() => if changed.is_err() { return },
            changed = sources.is_holder.changed() => if changed.is_err() { return },
            () = sleep_until(settles_at), if is_settling => {}
            () = tokio::time::sleep(RETRIED_AFTER), if has_failed => {}
        }
    }
}

/// What all statuses are made of.
struct Findings<'a> {
    configuration: &'a Configuration,
    programmed: &'a BTreeMap<Key, Programmed>,
    /// Agents may still be on their way here.
    is_settling: bool,
}

/// Whether all could be written.
async fn pass(client: &Client, sources: &Sources, findings: &Findings<'_>) -> bool {
    let mut all_written = true;
    for backend in sources.stores.backends.state() {
        let status = backend.status.clone().unwrap_or_default();
        let provider = match backend.spec.provider.named()[..] {
            [provider] => Some(provider.field()),
            _ => None,
        };
        let served = findings.configuration.snapshot.backends().iter().find(|served| {
            Some(&served.namespace) == backend.metadata.namespace.as_ref()
                && served.name == backend.name_any()
        });
        let hosts = served.map(|served| served.hosts.clone()).unwrap_or_default();
        let is_the_same = status.provider.as_deref() == provider && status.hosts == hosts;
        let columns = json!({"provider": provider, "hosts": hosts});
        all_written &= say(
            client,
            findings,
            Said {
                object: backend.as_ref(),
                kind: proto::Kind::Backend,
                conditions: &status.conditions,
                columns,
                is_the_same,
            },
        )
        .await;
    }
    for policy in sources.stores.policies.state() {
        let status = policy.status.clone().unwrap_or_default();
        all_written &= say(
            client,
            findings,
            Said {
                object: policy.as_ref(),
                kind: proto::Kind::Policy,
                conditions: &status.conditions,
                columns: json!({}),
                is_the_same: true,
            },
        )
        .await;
    }
    all_written
}

/// An object, and what its status says now.
struct Said<'a, K> {
    object: &'a K,
    kind: proto::Kind,
    conditions: &'a [Condition],
    /// The fields beside the conditions, as they should be.
    columns: Json,
    /// Whether they are.
    is_the_same: bool,
}

async fn say<K>(client: &Client, findings: &Findings<'_>, said: Said<'_, K>) -> bool
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let namespace = said.object.namespace().unwrap_or_default();
    let name = said.object.name_any();
    let object_name = ObjectName {
        kind: match said.kind {
            proto::Kind::Backend => "AIBackend",
            _ => "AIPolicy",
        },
        namespace: namespace.clone(),
        name: name.clone(),
    };
    // Not known yet: it is younger than the configuration, which is about to be made anew.
    let Some(outcome) = findings.configuration.outcomes.get(&object_name) else {
        return true;
    };
    let key = Key::new(said.kind, format!("{namespace}/{name}"));
    let of_nodes = findings.programmed.get(&key).cloned().unwrap_or_default();
    let generation = said.object.meta().generation;
    let mut sayings = conditions::sayings(&object_name, outcome, &of_nodes);
    if findings.is_settling {
        sayings = conditions::while_agents_return(sayings, said.conditions, generation);
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let conditions = match conditions::conditions(said.conditions, &sayings, generation, now) {
        Some(conditions) => conditions,
        None if said.is_the_same => return true,
        None => said.conditions.to_vec(),
    };
    let mut status = said.columns;
    status["conditions"] = json!(conditions);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let written = Api::<K>::namespaced(client.clone(), &namespace)
        .patch_status(
            &name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&patch),
        )
        .await;
    match written {
        Ok(_) => true,
        // It has gone meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(error) => {
            tracing::warn!("status of {} {namespace}/{name}: {error}", K::kind(&()));
            false
        }
    }
}
