//! What each node has left, counted once for a pass and kept while it places.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::claim::{Claim, HostPort};
use super::objection::Objection;
use crate::assignment::build::spec_of;
use crate::model::id::{NodeId, ServiceId, TaskId};
use crate::model::node::Node;
use crate::model::task::{DesiredState, Task};
use crate::state::State;

/// All nodes, each with what its containers take.
pub(super) struct Rooms {
    pub(super) nodes: Vec<Room>,
    index: BTreeMap<NodeId, usize>,
}

pub(super) struct Room {
    pub(super) node: Arc<Node>,
    /// Containers at all.
    pub(super) containers: u32,
    cpu: u64,
    memory: u64,
    generic: BTreeMap<String, u64>,
    ports: Vec<HostPort>,
}

impl Rooms {
    /// Counts every container but that of the one task that is to be placed.
    pub(super) fn of(state: &State, placed: Option<&TaskId>) -> Self {
        let nodes: Vec<Room> = state.nodes.values().map(Room::empty).collect();
        let index = nodes
            .iter()
            .enumerate()
            .map(|(number, room)| (room.node.id.clone(), number))
            .collect();
        let mut rooms = Self { nodes, index };
        let mut claims: BTreeMap<(&ServiceId, u64), Claim> = BTreeMap::new();
        for task in state.tasks.values().filter(|task| holds_place(task)) {
            if placed == Some(&task.id) {
                continue;
            }
            let Some(number) = task.node.as_ref().and_then(|node| rooms.index.get(node)) else {
                continue;
            };
            let claim = claims
                .entry((&task.service, task.version))
                .or_insert_with(|| {
                    spec_of(state, task).map_or_else(Claim::default, |it| Claim::of(&it.container))
                });
            if let Some(room) = rooms.nodes.get_mut(*number) {
                room.take(claim);
            }
        }
        rooms
    }

    pub(super) fn number(&self, node: &NodeId) -> Option<usize> {
        self.index.get(node).copied()
    }
}

impl Room {
    fn empty(node: &Arc<Node>) -> Self {
        Self {
            node: node.clone(),
            containers: 0,
            cpu: 0,
            memory: 0,
            generic: BTreeMap::new(),
            ports: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, claim: &Claim) {
        self.containers += 1;
        if claim.is_empty() {
            return;
        }
        self.cpu = self.cpu.saturating_add(claim.cpu);
        self.memory = self.memory.saturating_add(claim.memory);
        for (kind, count) in &claim.generic {
            let taken = self.generic.entry(kind.clone()).or_default();
            *taken = taken.saturating_add(*count);
        }
        self.ports.extend(&claim.ports);
    }

    /// What is missing for one more container. A node that does not know what it has (zero) is not
    /// asked.
    pub(super) fn lacks(&self, claim: &Claim) -> Option<Objection> {
        if claim.is_empty() {
            return None;
        }
        let all = &self.node.description;
        let fits = |wish: u64, taken: u64, all: u64| {
            wish == 0 || all == 0 || taken.saturating_add(wish) <= all
        };
        if !fits(claim.cpu, self.cpu, all.cpu_millis) {
            return Some(Objection::TooFewCpus);
        }
        if !fits(claim.memory, self.memory, all.memory) {
            return Some(Objection::TooLittleMemory);
        }
        let short = claim.generic.iter().find(|(kind, wish)| {
            let taken = self.generic.get(*kind).copied().unwrap_or(0);
            let all = all.generic_resources.get(*kind).copied().unwrap_or(0);
            taken.saturating_add(**wish) > all
        });
        if let Some((kind, _)) = short {
            let resource = kind.clone();
            return Some(Objection::TooFew { resource });
        }
        let taken = |port: &&HostPort| self.ports.iter().any(|other| other.overlaps(port));
        let port = claim.ports.iter().find(taken)?;
        Some(Objection::PortTaken {
            port: port.port,
            protocol: port.protocol,
        })
    }
}

/// What containers have set aside counts, whether or not they use it.
pub(super) fn holds_place(task: &Task) -> bool {
    !task.status.state.is_terminal() && task.desired <= DesiredState::Running
}
