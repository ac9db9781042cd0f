//! Chooses nodes for the containers of one version of a service, one after the other.
//!
//!     zone a (3 containers of web)         zone b (2)   ◄── the emptier branch
//!     ├ n1   1 of web, 9 at all            ├ n4   1 of web, 7 at all
//!     └ n2   2 of web, 4 at all            └ n5   none, 3 at all        ◄── the emptiest node
//!
//! Nodes with containers of the service are ordered here, the others by the [`Ground`]: so that each
//! container costs little, and a service no more than it has containers, however many nodes there
//! are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::ground::Ground;
use super::objection::{Objection, Unplaceable};
use super::room::{Room, Rooms};
use crate::model::id::NodeId;
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::{DesiredState, Task};
use crate::state::State;
use crate::state::load::{Claim, holds_place};

/// What one more container of a service takes, and where it has some already.
pub(super) struct Demand {
    claim: Claim,
    most_per_node: u32,
    /// Containers of the service by node, where there are any.
    of_service: BTreeMap<usize, u32>,
}

pub(super) struct Choice {
    demand: Demand,
    branches: Vec<Branch>,
    /// Nodes that the ground has been told to put aside.
    aside: Vec<usize>,
    /// Why there is no node any more: the same for all that follow.
    refused: Option<Unplaceable>,
}

/// What a branch of the ground has of the service.
#[derive(Default)]
struct Branch {
    containers: u32,
    /// Branches that may have nodes, the emptiest first.
    order: BTreeSet<(u32, usize)>,
    nodes: BinaryHeap<Reverse<Rank>>,
}

/// The smallest is taken. Ties go to the node with the smallest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    of_service: u32,
    containers: u32,
    node: usize,
}

impl Demand {
    pub(super) fn of(state: &State, rooms: &Rooms, service: &Service, spec: &ServiceSpec) -> Self {
        Self {
            claim: Claim::of(&spec.container),
            most_per_node: spec.placement.max_replicas_per_node,
            of_service: of_service(state, rooms, service),
        }
    }

    /// What has no room for one more. It does not change back while containers are placed.
    pub(super) fn full(&self, room: &Room, number: usize) -> Option<Objection> {
        let most = self.most_per_node;
        if most > 0 && self.count(number) >= most {
            return Some(Objection::EnoughReplicas { most });
        }
        room.lacks(&self.claim)
    }

    fn count(&self, number: usize) -> u32 {
        self.of_service.get(&number).copied().unwrap_or(0)
    }

    fn rank(&self, node: usize, rooms: &Rooms) -> Rank {
        Rank {
            of_service: self.count(node),
            containers: rooms.nodes.get(node).map_or(0, Room::containers),
            node,
        }
    }
}

impl Choice {
    pub(super) fn new(demand: Demand, ground: &Ground, rooms: &Rooms) -> Self {
        let branches = ground.branches.iter().map(|_| Branch::default());
        let mut choice = Self {
            demand,
            branches: branches.collect(),
            aside: Vec::new(),
            refused: None,
        };
        for (node, containers) in &choice.demand.of_service {
            for branch in ground.path(*node) {
                choice.branches[branch].containers += containers;
            }
            if let Some(leaf) = ground.path(*node).next().filter(|_| ground.suits(*node)) {
                let rank = choice.demand.rank(*node, rooms);
                choice.branches[leaf].nodes.push(Reverse(rank));
            }
        }
        for (number, branch) in ground.branches.iter().enumerate() {
            let children = branch.children.iter();
            let order = children.map(|child| (choice.branches[*child].containers, *child));
            choice.branches[number].order = order.collect();
        }
        choice
    }

    /// The best node for the next container, which then counts as placed there. The node to avoid
    /// is taken when there is no other.
    ///
    /// # Errors
    ///
    /// Returns [`Unplaceable`] with what each node lacks.
    pub(super) fn next(
        &mut self,
        ground: &mut Ground,
        rooms: &mut Rooms,
        suspects: &BTreeSet<NodeId>,
        avoided: Option<&NodeId>,
    ) -> Result<NodeId, Unplaceable> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let avoided = avoided.and_then(|node| rooms.number(node));
        let (mut last, mut chosen) = (None, None);
        while let Some(best) = self.pop(0, ground, rooms) {
            let room = rooms.nodes.get(best);
            if room.is_none_or(|room| self.demand.full(room, best).is_some()) {
                continue;
            }
            if avoided != Some(best) {
                chosen = Some(best);
                break;
            }
            last = Some(best);
        }
        if let Some(last) = last.filter(|_| chosen.is_some()) {
            self.add(last, ground, rooms);
        }
        let taken = chosen.or(last);
        if let Some(node) = taken.and_then(|node| self.take(node, ground, rooms)) {
            return Ok(node);
        }
        let refused = self.refusal(ground, rooms, suspects);
        Err(self.refused.insert(refused).clone())
    }

    /// Another service comes next: what was put aside for this one is free again.
    pub(super) fn end(self, ground: &mut Ground, rooms: &Rooms) {
        for node in self.aside {
            ground.bring_back(node, rooms);
        }
    }

    /// Takes the best node of the emptiest branch; of the next one where that has none left.
    fn pop(&mut self, branch: usize, ground: &mut Ground, rooms: &Rooms) -> Option<usize> {
        if ground.branches.get(branch)?.children.is_empty() {
            return self.pop_node(branch, ground, rooms);
        }
        while let Some((containers, child)) = self.branches.get(branch)?.order.first().copied() {
            if let Some(node) = self.pop(child, ground, rooms) {
                return Some(node);
            }
            let order = &mut self.branches.get_mut(branch)?.order;
            order.remove(&(containers, child));
        }
        None
    }

    fn pop_node(&mut self, branch: usize, ground: &mut Ground, rooms: &Rooms) -> Option<usize> {
        let own = &mut self.branches.get_mut(branch)?.nodes;
        while let Some((containers, node)) = ground.first(branch, rooms) {
            let rank = Rank {
                of_service: 0,
                containers,
                node,
            };
            let known = self.demand.of_service.contains_key(&node);
            if !known && own.peek().is_some_and(|Reverse(best)| *best < rank) {
                break;
            }
            ground.put_aside(branch);
            self.aside.push(node);
            // One that has some of the service is among its own.
            if !known {
                return Some(node);
            }
        }
        own.pop().map(|Reverse(rank)| rank.node)
    }

    fn take(&mut self, number: usize, ground: &Ground, rooms: &mut Rooms) -> Option<NodeId> {
        let room = rooms.nodes.get_mut(number)?;
        room.take(&self.demand.claim);
        let node = room.node.id.clone();
        *self.demand.of_service.entry(number).or_default() += 1;
        for branch in ground.path(number) {
            let before = self.branches[branch].containers;
            self.branches[branch].containers += 1;
            if let Some(parent) = ground.branches[branch].parent {
                self.branches[parent].order.remove(&(before, branch));
            }
        }
        self.add(number, ground, rooms);
        Some(node)
    }

    /// Puts a node among the service's own.
    fn add(&mut self, number: usize, ground: &Ground, rooms: &Rooms) {
        let rank = self.demand.rank(number, rooms);
        if let Some(leaf) = ground.path(number).next() {
            self.branches[leaf].nodes.push(Reverse(rank));
        }
        for branch in ground.path(number) {
            let containers = self.branches[branch].containers;
            if let Some(parent) = ground.branches[branch].parent {
                self.branches[parent].order.insert((containers, branch));
            }
        }
    }

    fn refusal(&self, ground: &Ground, rooms: &Rooms, suspects: &BTreeSet<NodeId>) -> Unplaceable {
        let mut refused: BTreeMap<Objection, usize> = BTreeMap::new();
        for (number, room) in rooms.nodes.iter().enumerate() {
            let objection = ground.objection(room, suspects);
            if let Some(objection) = objection.or_else(|| self.demand.full(room, number)) {
                *refused.entry(objection).or_default() += 1;
            }
        }
        Unplaceable::Refused(refused)
    }
}

/// How many containers of a service each node has. One that makes way for another of its slot does
/// not count: otherwise a service with as many as are allowed everywhere could not be updated.
fn of_service(state: &State, rooms: &Rooms, service: &Service) -> BTreeMap<usize, u32> {
    let tasks = || state.service_tasks(&service.id);
    let mut latest: BTreeMap<u32, u64> = BTreeMap::new();
    // With one container in each slot none makes way.
    if state.slots(&service.id).len() < state.tasks_of(&service.id).len() {
        for task in tasks().filter(|task| task.desired <= DesiredState::Running) {
            let version = latest.entry(task.slot).or_default();
            *version = (*version).max(task.version);
        }
    }
    let makes_way = |task: &Task| (latest.get(&task.slot)).is_some_and(|it| *it > task.version);
    let mut counts = BTreeMap::new();
    for task in tasks().filter(|task| holds_place(task) && !makes_way(task)) {
        if let Some(number) = task.node.as_ref().and_then(|node| rooms.number(node)) {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}
