//! One agent's stream: it is told what differs from what it holds, takes or refuses it, and is told again when that changes.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tonic::Status;
use weir_api::REPLICAS_AGREE_WITHIN;
use weir_api::proto;
use weir_api::proto::agent_message::Message as FromAgent;

use super::agents::{Agents, Connected};
use super::assemble::{Key, Resources, assemble, without_workloads};
use super::delta::{Held, deltas, versions};
use super::token::{Agent, Refusal};
use super::unseen::Unseen;
use crate::retire::order::{Order, Ordered};
use crate::watch::placed::NodeWorkloads;

/// An agent says hello at once, and answers a delta as soon as it has looked at it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether an agent's pod is still there: when it has gone, whoever holds its token must not go on.
const LOOKED_AFTER: Duration = Duration::from_secs(30);
/// In place of a version: no hash is empty.
const NOT_TAKEN: &str = "";
/// More than any agent can have seen; beyond it something is wrong with the agent.
const REPORTED_AT_MOST: usize = 4096;

/// What a stream needs to know of the rest of the controller.
#[derive(Clone)]
pub struct Sources {
    /// What each node runs, and what the cluster's objects come to.
    pub workloads: NodeWorkloads,
    /// Whether all pods are to be released.
    pub ordered: Ordered,
    /// Who is connected.
    pub agents: Agents,
    /// Becomes true when the controller is about to end.
    pub ending: watch::Receiver<bool>,
}

/// Where an agent's messages are sent to.
pub type Outgoing = mpsc::Sender<Result<proto::ControllerMessage, Status>>;

/// Serves one agent until it leaves, its token ends, or the controller does; the last is told as the status.
pub async fn serve<S>(
    agent: Agent,
    is_there: impl Fn(&Agent) -> bool,
    sources: Sources,
    mut incoming: S,
    outgoing: &Outgoing,
) -> Result<(), Status>
where
    S: Stream<Item = Result<proto::AgentMessage, Status>> + Unpin,
{
    let hello = hello(&mut incoming).await?;
    if hello.node != agent.node {
        let refusal = Refusal::OtherNode {
            bound: agent.node,
            said: hello.node,
        };
        tracing::warn!(pod = agent.pod, "an agent is refused: {refusal}");
        return Err(refusal.into());
    }
    tracing::info!(
        node = agent.node,
        pod = agent.pod,
        version = hello.agent_version,
        "an agent has connected"
    );
    let held: Held = hello
        .held
        .into_iter()
        .map(|held| {
            let key = Key {
                kind: held.kind,
                name: held.name,
            };
            (key, held.version)
        })
        .collect();
    let mut ordered = sources.ordered.clone();
    let mut ending = sources.ending.clone();
    let mut placed = sources.workloads.of(&agent.node);
    // Until all are known, an agent that holds something would be told to let go of it.
    let known = async {
        let first = placed.wait_for(Option::is_some).await.is_ok();
        let second = ordered.wait_for(Option::is_some).await.is_ok();
        first && second
    };
    let over = tokio::time::sleep(agent.until.duration_since(SystemTime::now()).unwrap_or_default());
    tokio::pin!(over);
    tokio::select! {
        known = known => if !known { return Err(ended()) },
        () = &mut over => return Err(Refusal::Expired.into()),
        _ = ending.wait_for(|ending| *ending) => return Err(ended()),
    }
    let mut stream = Session {
        connected: sources.agents.enter(agent.node.clone(), held.clone()),
        unseen: Unseen::of(&held),
        held,
        unanswered: VecDeque::new(),
        due: Instant::now(),
        nonce: 0,
        outgoing,
    };
    let mut is_changed = true;
    let caught_up = Instant::now() + REPLICAS_AGREE_WITHIN;
    let mut looked_after = tokio::time::interval_at(Instant::now() + LOOKED_AFTER, LOOKED_AFTER);
    loop {
        if *ending.borrow() {
            return Err(ended());
        }
        // One change at a time: what an agent has not answered bounds what it is sent, and it always gets the newest next.
        if is_changed && stream.unanswered.is_empty() {
            let now = placed.borrow_and_update().clone();
            let wanted = now.map(|now| {
                let runs = stream.unseen.runs(&now.workloads);
                assemble(&now.configuration, &now.workloads, runs)
            });
            let wanted = wanted.unwrap_or_default();
            let is_to_retire = ordered
                .borrow_and_update()
                .as_ref()
                .is_some_and(Order::is_to_retire);
            stream.send(wanted, is_to_retire).await?;
            is_changed = false;
        }
        let is_waiting = !stream.unanswered.is_empty();
        tokio::select! {
            changed = placed.changed() => { changed.map_err(|_| ended())?; is_changed = true; }
            changed = ordered.changed() => { changed.map_err(|_| ended())?; is_changed = true; }
            message = incoming.next() => match message {
                None => return Ok(()),
                Some(message) => stream.take(message?)?,
            },
            () = tokio::time::sleep_until(stream.due), if is_waiting => {
                return Err(Status::deadline_exceeded("no acknowledgement came: connect again"));
            }
            () = tokio::time::sleep_until(caught_up), if !stream.unseen.is_empty() => {
                stream.unseen = Unseen::default();
                is_changed = true;
            }
            () = &mut over => return Err(Refusal::Expired.into()),
            _ = looked_after.tick() => if !is_there(&agent) {
                return Err(Refusal::NoSuchPod { pod: agent.pod, uid: agent.pod_uid }.into());
            },
            _ = ending.wait_for(|ending| *ending) => return Err(ended()),
        }
    }
}

/// What is told to agents that are to go to another replica.
pub(super) fn ended() -> Status {
    Status::unavailable("this replica of the controller ends: connect again")
}

async fn hello<S>(incoming: &mut S) -> Result<proto::Hello, Status>
where
    S: Stream<Item = Result<proto::AgentMessage, Status>> + Unpin,
{
    let first = timeout(ANSWERED_WITHIN, incoming.next())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello came"))?;
    match first.transpose()?.and_then(|message| message.message) {
        Some(FromAgent::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("the first message must be Hello")),
    }
}

/// A set of deltas that has been sent and not been answered yet.
struct Unanswered {
    nonce: String,
    /// What it was about, by version.
    upserts: Held,
    removals: Vec<Key>,
}

struct Session<'a> {
    connected: Connected,
    /// What the agent has been sent, or held before; of what it has refused, [`NOT_TAKEN`]: it may hold an older one.
    held: Held,
    unseen: Unseen,
    unanswered: VecDeque<Unanswered>,
    /// When the first of them should have been answered.
    due: Instant,
    nonce: u64,
    outgoing: &'a Outgoing,
}

impl Session<'_> {
    /// Sends what differs from what is held, and has it released if this is the node's end.
    async fn send(&mut self, wanted: Resources, is_to_retire: bool) -> Result<(), Status> {
        self.connected.update(|state| state.has_answered = false);
        let wanted = match is_to_retire {
            true => {
                self.unseen.forget_workloads();
                without_workloads(wanted)
            }
            false => wanted,
        };
        self.unseen.look_at(&wanted);
        let (kept, held): (Held, Held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(key, _)| self.unseen.contains(key));
        for mut delta in deltas(&held, &wanted) {
            delta.release_all = is_to_retire && delta.snapshot_done;
            self.nonce += 1;
            delta.nonce = self.nonce.to_string();

            let upserts = delta
                .upserts
                .iter()
                .map(|resource| {
                    (
                        Key::new(weir_api::resource::kind_of(resource), &resource.name),
                        resource.version.clone(),
                    )
                })
                .collect();
            let removals = delta
                .removals
                .iter()
                .map(|removal| Key {
                    kind: removal.kind,
                    name: removal.name.clone(),
                })
                .collect();
            self.unanswered.push_back(Unanswered {
                nonce: delta.nonce.clone(),
                upserts,
                removals,
            });
            let message = proto::ControllerMessage { delta: Some(delta) };
            // An agent that reads nothing must not hold its stream open for ever.
            match timeout(ANSWERED_WITHIN, self.outgoing.send(Ok(message))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Status::cancelled("the agent has left")),
                Err(_) => return Err(Status::deadline_exceeded("the agent does not read")),
            }
        }
        self.held = versions(&wanted);
        self.held.extend(kept);
        self.due = Instant::now() + ANSWERED_WITHIN;
        Ok(())
    }

    fn take(&mut self, message: proto::AgentMessage) -> Result<(), Status> {
        match message.message {
            Some(FromAgent::Acknowledgement(acknowledgement)) => self.acknowledged(acknowledgement),
            Some(FromAgent::Report(report)) => {
                if report.captured_pods.len() > REPORTED_AT_MOST || report.distrusts.len() > REPORTED_AT_MOST
                {
                    return Err(Status::invalid_argument(format!(
                        "a report has more than {REPORTED_AT_MOST} entries"
                    )));
                }
                self.connected.update(|state| {
                    state.has_reported = true;
                    state.captured_pods = report.captured_pods.into_iter().collect();
                    state.distrusts = report.distrusts;
                });
                Ok(())
            }
            Some(FromAgent::Hello(_)) => {
                Err(Status::invalid_argument("Hello comes once, as the first message"))
            }
            // Of a newer agent: it is no worse off for not being understood.
            None => Ok(()),
        }
    }

    fn acknowledged(&mut self, acknowledgement: proto::Acknowledgement) -> Result<(), Status> {
        let Some(answered) = self.unanswered.pop_front() else {
            return Err(Status::invalid_argument("an acknowledgement of nothing"));
        };
        if answered.nonce != acknowledgement.nonce {
            return Err(Status::invalid_argument(format!(
                "an acknowledgement of {:?} where that of {:?} is due: deltas are answered in their order",
                acknowledgement.nonce, answered.nonce
            )));
        }
        self.due = Instant::now() + ANSWERED_WITHIN;
        let has_answered = self.unanswered.is_empty();
        let held = &mut self.held;
        self.connected.update(|state| {
            state.has_answered = has_answered;
            let mut upserts = answered.upserts;
            for rejection in acknowledgement.rejections {
                let key = Key {
                    kind: rejection.kind,
                    name: rejection.name,
                };
                // Also of what it took before: it may be of no use for want of something that has gone, or could not be taken.
                let version = upserts
                    .remove(&key)
                    .or_else(|| state.taken.remove(&key))
                    .or_else(|| state.rejected.get(&key).map(|(version, _)| version.clone()));
                if let Some(version) = version {
                    tracing::warn!(
                        node = state.node,
                        "an agent has refused {} {}: {}",
                        kind_name(key.kind),
                        key.name,
                        rejection.message
                    );
                    // Sent again with the next change, which may bring what it lacked: the answer to that says whether it is of use now.
                    if let Some(held) = held.get_mut(&key) {
                        NOT_TAKEN.clone_into(held);
                    }
                    state.rejected.insert(key, (version, rejection.message));
                }
            }
            for (key, version) in upserts {
                state.rejected.remove(&key);
                state.taken.insert(key, version);
            }
            for key in answered.removals {
                state.rejected.remove(&key);
                state.taken.remove(&key);
            }
        });
        Ok(())
    }
}

fn kind_name(kind: i32) -> &'static str {
    proto::Kind::try_from(kind).map_or("a resource of unknown kind", |kind| kind.as_str_name())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
