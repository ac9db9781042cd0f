//! What each node has left, read once for a pass and kept while it places.

use std::sync::Arc;

use super::objection::Objection;
use crate::assignment::build::spec_of;
use crate::model::id::NodeId;
use crate::model::node::Node;
use crate::model::task::Task;
use crate::state::State;
use crate::state::load::{Claim, HostPort, Load, holds_place};

/// All nodes in the order of their identifiers, each with what its containers take.
pub(super) struct Rooms {
    pub(super) nodes: Vec<Room>,
}

pub(super) struct Room {
    pub(super) node: Arc<Node>,
    load: Load,
}

impl Rooms {
    pub(super) fn of(state: &State) -> Self {
        let nodes = state.nodes.values();
        Self {
            nodes: nodes.map(|node| Room::of(state, node)).collect(),
        }
    }

    pub(super) fn number(&self, node: &NodeId) -> Option<usize> {
        let found = self.nodes.binary_search_by(|room| room.node.id.cmp(node));
        found.ok()
    }
}

impl Room {
    pub(super) fn of(state: &State, node: &Arc<Node>) -> Self {
        Self {
            node: node.clone(),
            load: state.load(&node.id).cloned().unwrap_or_default(),
        }
    }

    /// Without what one task takes that is to be placed there.
    pub(super) fn without(state: &State, node: &Arc<Node>, task: &Task) -> Self {
        let mut room = Self::of(state, node);
        if task.node.as_ref() == Some(&node.id) && holds_place(task) {
            let spec = spec_of(state, task);
            let claim = spec.map_or_else(Claim::default, |it| Claim::of(&it.container));
            room.load.remove(&claim);
        }
        room
    }

    /// Containers at all.
    pub(super) fn containers(&self) -> u32 {
        self.load.containers
    }

    pub(super) fn take(&mut self, claim: &Claim) {
        self.load.add(claim);
    }

    /// What is missing for one more container. A node that does not know what it has (zero) is not
    /// asked.
    pub(super) fn lacks(&self, claim: &Claim) -> Option<Objection> {
        if claim.is_empty() {
            return None;
        }
        let (all, load) = (&self.node.description, &self.load);
        let fits = |wish: u64, taken: u128, all: u64| {
            wish == 0 || all == 0 || taken + u128::from(wish) <= u128::from(all)
        };
        if !fits(claim.cpu, load.cpu, all.cpu_millis) {
            return Some(Objection::TooFewCpus);
        }
        if !fits(claim.memory, load.memory, all.memory) {
            return Some(Objection::TooLittleMemory);
        }
        let short = claim.generic.iter().find(|(kind, wish)| {
            let taken = load.generic.get(*kind).copied().unwrap_or(0);
            taken + u128::from(**wish) > u128::from(all.count_of(kind))
        });
        if let Some((kind, _)) = short {
            let resource = kind.clone();
            return Some(Objection::TooFew { resource });
        }
        let taken = |port: &&HostPort| load.ports.iter().any(|other| other.overlaps(port));
        let port = claim.ports.iter().find(taken)?;
        Some(Objection::PortTaken {
            port: port.port,
            protocol: port.protocol,
        })
    }
}
