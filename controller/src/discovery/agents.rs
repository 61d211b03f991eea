//! The agents that are connected to this replica, and what each of them has taken: the ground of `Programmed`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_api::proto;

use super::assemble::Key;
use super::delta::Held;

/// What one connected agent has and has not taken.
#[derive(Debug, Clone, Default)]
pub struct AgentState {
    /// Its node.
    pub node: String,
    /// What it has taken, by version.
    pub taken: Held,
    /// What it has refused: the version, and why.
    pub rejected: BTreeMap<Key, (String, String)>,
    /// Whether it has answered all that it was sent on this connection.
    pub has_answered: bool,
    /// The pods that it captures, by uid, as far as it has said.
    pub captured_pods: BTreeSet<String>,
    /// Whether it has said so on this connection.
    pub has_reported: bool,
    /// Workloads whose client rejected our leaf.
    pub distrusts: Vec<proto::Distrust>,
}

impl AgentState {
    /// Whether it knows that nothing is to be captured, and has said what still is.
    pub fn has_let_go(&self) -> bool {
        let workload = i32::from(proto::Kind::Workload);
        // One that it has refused it may capture all the same, without what it is to be given.
        let mut told = self.taken.keys().chain(self.rejected.keys());
        self.has_answered && self.has_reported && told.all(|key| key.kind != workload)
    }
}

/// All connected agents. Cloning it gives another handle to the same.
#[derive(Debug, Clone)]
pub struct Agents {
    states: Arc<Mutex<HashMap<u64, AgentState>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            states: Arc::default(),
            changes: Arc::new(watch::channel(0).0),
        }
    }
}

impl Agents {
    /// Enters an agent for as long as the guard lives.
    pub fn enter(&self, node: String, holds: Held) -> Connected {
        let mut number = 0;
        // The lock is held over both, so that the number that is entered is this one's.
        let mut states = self.states.lock();
        self.changes.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        let state = AgentState {
            node,
            taken: holds,
            ..AgentState::default()
        };
        states.insert(number, state);
        drop(states);
        Connected {
            agents: self.clone(),
            number,
        }
    }

    /// All states, as they are now.
    pub fn states(&self) -> Vec<AgentState> {
        self.states.lock().values().cloned().collect()
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.states.lock().len()
    }

    /// Wakes whenever something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|last| *last += 1);
    }
}

/// A connected agent's entry. Dropping it takes the entry out.
#[derive(Debug)]
pub struct Connected {
    agents: Agents,
    number: u64,
}

impl Connected {
    /// Changes the entry.
    pub fn update(&self, change: impl FnOnce(&mut AgentState)) {
        if let Some(state) = self.agents.states.lock().get_mut(&self.number) {
            change(state);
        }
        self.agents.changed();
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.agents.states.lock().remove(&self.number);
        self.agents.changed();
    }
}
