//! Chooses nodes for the containers of one service, one after the other.
//!
//!     spread over node.labels.zone:      a (3 containers)      b (2)   ◄── the emptier branch
//!                                        ├ n1  1 of web, 9     ├ n4  1 of web, 7
//!                                        └ n2  2 of web, 4     └ n5  1 of web, 3   ◄── the emptiest node
//!
//! Nodes are filtered once by what does not change while containers are placed; what is left is
//! sorted into a [`Tree`], so that each further container costs little, however many nodes there are.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::Claim;
use super::constraint::{Constraint, usual};
use super::objection::{Objection, Unplaceable};
use super::room::{Room, Rooms, holds_place};
use super::tree::{Path, Rank, Tree};
use crate::model::id::NodeId;
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::{DesiredState, Task};
use crate::reconcile::slot;
use crate::state::State;

/// The nodes that one version of a service may be placed on.
pub(super) struct Choice {
    claim: Claim,
    most_per_node: u32,
    tree: Tree,
    /// The branch of each node.
    paths: Vec<Path>,
    /// Containers of the service by node, where there are any.
    of_service: BTreeMap<usize, u32>,
    refused: BTreeMap<Objection, usize>,
}

/// A label to spread over. Nodes without it are a branch of their own.
enum Preference {
    Label(String),
    EngineLabel(String),
}

impl Choice {
    /// Suspects are nodes that are silent for the moment.
    ///
    /// # Errors
    ///
    /// Returns [`Unplaceable`] for constraints that cannot be read, and when there is no node.
    pub(super) fn new(
        state: &State,
        rooms: &Rooms,
        service: &Service,
        spec: &ServiceSpec,
        suspects: &BTreeSet<NodeId>,
    ) -> Result<Self, Unplaceable> {
        if rooms.nodes.is_empty() {
            return Err(Unplaceable::NoNodes);
        }
        let filter = Filter::new(state, spec)?;
        let mut choice = Self {
            claim: Claim::of(&spec.container),
            most_per_node: spec.placement.max_replicas_per_node,
            tree: Tree::default(),
            paths: Vec::with_capacity(rooms.nodes.len()),
            of_service: of_service(state, rooms, service),
            refused: BTreeMap::new(),
        };
        let preferences: Vec<Preference> = spec
            .placement
            .spread
            .iter()
            .filter_map(|it| Preference::parse(it))
            .collect();
        for (number, room) in rooms.nodes.iter().enumerate() {
            let values = preferences.iter().map(|it| it.value(&room.node));
            let path = choice.tree.path(values);
            choice.tree.count(&path, choice.count(number));
            let silent = suspects.contains(&room.node.id);
            match filter
                .objection(&room.node)
                .or_else(|| silent.then_some(Objection::Silent))
                .or_else(|| choice.full(room, number))
            {
                Some(objection) => *choice.refused.entry(objection).or_default() += 1,
                None => choice.tree.add(&path, choice.rank(number, room)),
            }
            choice.paths.push(path);
        }
        Ok(choice)
    }

    /// The best node for the next container, which then counts as placed there. The node to avoid
    /// is taken when there is no other.
    ///
    /// # Errors
    ///
    /// Returns [`Unplaceable`] with what each node lacks.
    pub(super) fn next(
        &mut self,
        rooms: &mut Rooms,
        avoided: Option<&NodeId>,
    ) -> Result<NodeId, Unplaceable> {
        let avoided = avoided.and_then(|node| rooms.number(node));
        let mut last = None;
        let mut chosen = None;
        while let Some(best) = self.tree.pop() {
            let Some(room) = rooms.nodes.get(best.node) else {
                continue;
            };
            if let Some(objection) = self.full(room, best.node) {
                *self.refused.entry(objection).or_default() += 1;
            } else if avoided == Some(best.node) {
                last = Some(best);
            } else {
                chosen = Some(best);
                break;
            }
        }
        if chosen.is_some() {
            self.put_back(last);
        }
        let chosen = chosen.or(last).and_then(|best| self.take(rooms, best.node));
        chosen.ok_or_else(|| Unplaceable::Refused(self.refused.clone()))
    }

    fn put_back(&mut self, rank: Option<Rank>) {
        if let Some(rank) = rank
            && let Some(path) = self.paths.get(rank.node)
        {
            self.tree.add(path, rank);
        }
    }

    fn take(&mut self, rooms: &mut Rooms, number: usize) -> Option<NodeId> {
        let room = rooms.nodes.get_mut(number)?;
        room.take(&self.claim);
        *self.of_service.entry(number).or_default() += 1;
        let rank = self.rank(number, room);
        let path = self.paths.get(number)?;
        self.tree.count(path, 1);
        self.tree.add(path, rank);
        Some(room.node.id.clone())
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

    fn rank(&self, node: usize, room: &Room) -> Rank {
        Rank {
            of_service: self.count(node),
            containers: room.containers,
            node,
        }
    }
}

/// How many containers of a service each node has. One that makes way for another of its slot does
/// not count: otherwise a service with as many as are allowed everywhere could not be updated.
fn of_service(state: &State, rooms: &Rooms, service: &Service) -> BTreeMap<usize, u32> {
    let tasks = || state.service_tasks(&service.id);
    let wanted = tasks().filter(|task| task.desired <= DesiredState::Running);
    let mut latest: BTreeMap<u32, u64> = BTreeMap::new();
    for task in wanted {
        let version = latest.entry(task.slot).or_default();
        *version = (*version).max(task.version);
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

impl Preference {
    fn parse(text: &str) -> Option<Self> {
        let label = |prefix: &str| text.strip_prefix(prefix).map(str::to_owned);
        label("node.labels.")
            .map(Self::Label)
            .or_else(|| label("engine.labels.").map(Self::EngineLabel))
    }

    fn value<'a>(&self, node: &'a Node) -> &'a str {
        let found = match self {
            Self::Label(name) => node.labels.get(name),
            Self::EngineLabel(name) => node.description.engine_labels.get(name),
        };
        found.map_or("", String::as_str)
    }
}

/// What speaks against a node whatever else runs there.
pub(super) struct Filter {
    constraints: Vec<Constraint>,
    platform: Option<String>,
    /// Where the data of its named volumes is.
    volumes: Vec<(String, NodeId)>,
}

impl Filter {
    /// # Errors
    ///
    /// Returns [`Unplaceable::Constraint`] for constraints that cannot be read.
    pub(super) fn new(state: &State, spec: &ServiceSpec) -> Result<Self, Unplaceable> {
        let constraints = spec
            .placement
            .constraints
            .iter()
            .map(|it| Constraint::parse(it));
        let constraints = constraints.collect::<Result<_, _>>();
        let homes = slot::volumes(&spec.container).filter_map(|name| {
            let home = state.volumes.get(name)?.node.clone()?;
            Some((name.to_owned(), home))
        });
        Ok(Self {
            constraints: constraints.map_err(|error| Unplaceable::Constraint {
                error: error.to_string(),
            })?,
            platform: spec.container.platform.clone(),
            volumes: homes.collect(),
        })
    }

    /// The first thing that speaks against a node.
    pub(super) fn objection(&self, node: &Node) -> Option<Objection> {
        unavailable(node).or_else(|| self.unsuitable(node))
    }

    /// The first thing that would still speak against it if it were available.
    pub(super) fn unsuitable(&self, node: &Node) -> Option<Objection> {
        if let Some(constraint) = self.constraints.iter().find(|it| !it.holds(node)) {
            let constraint = constraint.to_string();
            return Some(Objection::LacksConstraint { constraint });
        }
        if let Some(platform) = self.platform.as_deref().filter(|it| !is_of(node, it)) {
            let platform = platform.to_owned();
            return Some(Objection::OtherPlatform { platform });
        }
        let (volume, _) = self.volumes.iter().find(|(_, home)| *home != node.id)?;
        let volume = volume.clone();
        Some(Objection::HasNotTheVolume { volume })
    }
}

/// Nothing new begins on a node that is down, paused or drained.
fn unavailable(node: &Node) -> Option<Objection> {
    match (node.status, node.availability) {
        (NodeStatus::Down, _) => Some(Objection::Down),
        (NodeStatus::Ready, Availability::Drain) => Some(Objection::Drained),
        (NodeStatus::Ready, Availability::Pause) => Some(Objection::Paused),
        (NodeStatus::Ready, Availability::Active) => None,
    }
}

/// `os[/arch[/variant]]`; a node that does not know what it is is not asked.
fn is_of(node: &Node, platform: &str) -> bool {
    let mut parts = platform.split('/');
    let (os, architecture) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let of_node = &node.description;
    let same = |wanted: &str, found: &str| {
        wanted.is_empty() || found.is_empty() || usual(wanted).eq_ignore_ascii_case(usual(found))
    };
    same(os, &of_node.os) && same(architecture, &of_node.architecture)
}
