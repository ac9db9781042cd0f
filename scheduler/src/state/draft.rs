//! A decision in the making: changes, and the state as it will be with them.
//!
//! Commands and passes decide one after the other on the same draft, so that each sees what the
//! one before has decided. Identifiers come from a generator that is part of the draft.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use super::{Change, State};
use crate::model::id::{ContainerId, NetworkId, NodeId, ServiceId, TaskId};
use crate::model::task::{DesiredState, StopOrder, Task, TaskState, TaskStatus};
use crate::model::time::Timestamp;

/// The state as it will be, and what leads there.
#[derive(Debug)]
pub struct Draft<'a> {
    state: State,
    changes: Vec<Change>,
    ids: &'a mut IdGenerator,
    pub now: Timestamp,
    suspects: BTreeSet<NodeId>,
    voters: Voters,
}

/// The members of the consensus group that vote, and those of the group that were heard from
/// lately, by number.
#[derive(Clone, Debug, Default)]
pub struct Voters {
    pub all: BTreeSet<u64>,
    pub heard: BTreeSet<u64>,
}

impl<'a> Draft<'a> {
    pub fn new(state: &State, ids: &'a mut IdGenerator, now: Timestamp) -> Self {
        Self {
            state: state.clone(),
            changes: Vec::new(),
            ids,
            now,
            suspects: BTreeSet::new(),
            voters: Voters::default(),
        }
    }

    /// Nodes that are silent, but not yet down: they get nothing new.
    #[must_use]
    pub fn suspecting(mut self, suspects: BTreeSet<NodeId>) -> Self {
        self.suspects = suspects;
        self
    }

    /// Who votes on what is decided.
    #[must_use]
    pub fn voted_on_by(mut self, voters: Voters) -> Self {
        self.voters = voters;
        self
    }

    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    pub fn suspects(&self) -> &BTreeSet<NodeId> {
        &self.suspects
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn push(&mut self, change: Change) {
        self.state.apply_change(&change);
        self.changes.push(change);
    }

    /// How many changes there are so far.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, and the state that they lead to.
    pub fn into_parts(self) -> (Vec<Change>, State) {
        let state = self.state.clone();
        (self.into_changes(), state)
    }

    /// A task that was made, given an address and given a node in one go is written once.
    pub fn into_changes(self) -> Vec<Change> {
        let mut last_rows: IndexMap<TaskId, usize> = IndexMap::new();
        for (number, change) in self.changes.iter().enumerate() {
            if let Change::SetTask(row) = change {
                last_rows.insert(row.id.clone(), number);
            }
        }
        // What is removed in between begins anew.
        let removes =
            |change: &Change| matches!(change, Change::RemoveTask(_) | Change::ForgetContainer(_));
        let end = self
            .changes
            .iter()
            .rposition(removes)
            .map_or(0, |at| at + 1);
        let is_overtaken = |number: usize, change: &Change| {
            let task = match change {
                Change::SetTask(row) => &row.id,
                Change::Observe(id, _) | Change::Desire(id, ..) => id,
                _ => return false,
            };
            number >= end && last_rows.get(task).is_some_and(|last| number < *last)
        };
        let changes = self.changes.into_iter().enumerate();
        let kept = changes.filter(|(number, change)| !is_overtaken(*number, change));
        kept.map(|(_, change)| change).collect()
    }

    /// A point to come back to with [`Draft::rewind`].
    pub fn mark(&self) -> Mark {
        Mark {
            state: self.state.clone(),
            changes: self.changes.len(),
        }
    }

    /// Takes back every change since the mark.
    pub fn rewind(&mut self, mark: Mark) {
        self.state = mark.state;
        self.changes.truncate(mark.changes);
    }

    /// Lets the passes look at every service, whether or not it is at rest.
    #[cfg(debug_assertions)]
    pub(crate) fn disturb(&mut self) {
        self.state.disturb();
    }

    /// Writes what a task is to be, if it is not yet so.
    pub fn desire(&mut self, task: &Task, desired: DesiredState, stop: Option<&StopOrder>) {
        if task.desired < desired {
            let change = Change::Desire(task.id.clone(), desired, stop.cloned());
            self.push(change);
        }
    }

    /// Says why a task that has no node yet has none, if that is new.
    pub fn explain(&mut self, task: &Task, reason: impl Into<String>) {
        let reason = reason.into();
        if task.status.state == TaskState::Pending && task.status.reason == reason {
            return;
        }
        let mut status = TaskStatus::new(TaskState::Pending, self.now, reason);
        if task.status.state == TaskState::Pending {
            status.at = task.status.at;
        }
        self.push(Change::Observe(task.id.clone(), Box::new(status)));
    }

    pub fn set_task(&mut self, task: Task) {
        self.push(Change::SetTask(Arc::new(task)));
    }

    /// Begins with the number of tasks made so far, so that ids sort in the order of their making.
    pub fn task_id(&mut self) -> TaskId {
        let number = self.state.tasks_made + 1;
        let chance = self.ids.hex();
        TaskId::new(format!("{number:010x}{}", &chance[..15]))
    }

    pub fn container_id(&mut self) -> ContainerId {
        ContainerId::new(self.ids.hex())
    }

    pub fn network_id(&mut self) -> NetworkId {
        NetworkId::new(self.ids.hex())
    }

    /// Sorts in the order of making as well, so that what is made in one go stays in its order.
    pub fn service_id(&mut self) -> ServiceId {
        let chance = self.ids.hex();
        let (version, made) = (self.state.version, self.ids.made & 0xffff);
        ServiceId::new(format!("{version:08x}{made:04x}{}", &chance[..13]))
    }

    /// Two words, as Docker makes up names for containers.
    pub fn container_name(&mut self) -> String {
        let chance = self.ids.bytes();
        let pick = |words: &[&'static str], byte: u8| words[usize::from(byte) % words.len()];
        format!(
            "{}_{}{:02x}",
            pick(&ADJECTIVES, chance[0]),
            pick(&NOUNS, chance[1]),
            chance[2]
        )
    }
}

/// See [`Draft::mark`].
#[derive(Debug)]
pub struct Mark {
    state: State,
    changes: usize,
}

/// Makes identifiers out of a seed: the same seed makes the same ones, another makes others.
#[derive(Clone, Debug)]
pub struct IdGenerator {
    seed: [u8; 32],
    made: u64,
}

impl IdGenerator {
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, made: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.made += 1;
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.made.to_le_bytes());
        hash.finalize().into()
    }

    /// 64 lower-case digits.
    fn hex(&mut self) -> String {
        let halves = self.bytes().into_iter().flat_map(|it| [it >> 4, it & 15]);
        halves
            .map(|half| char::from(DIGITS[usize::from(half)]))
            .collect()
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

const ADJECTIVES: [&str; 16] = [
    "amber", "brisk", "calm", "deft", "eager", "fair", "glad", "keen", "lively", "merry", "neat",
    "proud", "quick", "steady", "trim", "warm",
];

const NOUNS: [&str; 16] = [
    "anchor", "beacon", "buoy", "crane", "dock", "ferry", "harbor", "jetty", "keel", "lantern",
    "mast", "pier", "quay", "rudder", "sail", "tide",
];
