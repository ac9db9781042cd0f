//! The nodes that suit, in the branches that spread preferences make, the emptiest on top: made
//! once for all services that ask the same of their nodes.
//!
//!     spread over node.labels.zone:      a              b
//!                                        ├ n1   9       ├ n4   7
//!                                        └ n2   4       └ n5   3   containers at all
//!
//! While a service is placed, the nodes that it is on are put aside: it orders those itself. All
//! others have none of its containers, and so are in the same order for every service. A node that
//! has become fuller since it was put in moves down when it comes to the top.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::filter::{Filter, homes};
use super::objection::{Objection, Unplaceable};
use super::room::{Room, Rooms};
use crate::model::id::NodeId;
use crate::model::node::Node;
use crate::model::service::ServiceSpec;
use crate::state::State;

/// What a service asks of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    constraints: Vec<String>,
    platform: Option<String>,
    volumes: Vec<(String, NodeId)>,
    spread: Vec<String>,
}

pub(super) struct Ground {
    filter: Filter,
    /// The first is the root.
    pub(super) branches: Vec<Branch>,
    /// The last branch of each node.
    leaves: Vec<usize>,
    suits: Vec<bool>,
}

#[derive(Default)]
pub(super) struct Branch {
    pub(super) parent: Option<usize>,
    /// In the order in which they were met with.
    pub(super) children: Vec<usize>,
    values: BTreeMap<String, usize>,
    /// In a branch without children: its nodes by containers at all, then by number.
    free: BinaryHeap<Reverse<(u32, usize)>>,
}

/// A label to spread over. Nodes without it are a branch of their own.
enum Preference {
    Label(String),
    EngineLabel(String),
}

impl Wish {
    pub(super) fn of(state: &State, spec: &ServiceSpec) -> Self {
        Self {
            constraints: spec.placement.constraints.clone(),
            platform: spec.container.platform.clone(),
            volumes: homes(state, spec),
            spread: spec.placement.spread.clone(),
        }
    }
}

impl Ground {
    /// Suspects are nodes that are silent for the moment.
    ///
    /// # Errors
    ///
    /// Returns [`Unplaceable`] for constraints that cannot be read, and when there is no node.
    pub(super) fn new(
        state: &State,
        rooms: &Rooms,
        spec: &ServiceSpec,
        suspects: &BTreeSet<NodeId>,
    ) -> Result<Self, Unplaceable> {
        if rooms.nodes.is_empty() {
            return Err(Unplaceable::NoNodes);
        }
        let preferences = spec.placement.spread.iter();
        let preferences: Vec<_> = preferences.filter_map(|it| Preference::parse(it)).collect();
        let mut ground = Self {
            filter: Filter::new(state, spec)?,
            branches: vec![Branch::default()],
            leaves: Vec::with_capacity(rooms.nodes.len()),
            suits: Vec::with_capacity(rooms.nodes.len()),
        };
        for (number, room) in rooms.nodes.iter().enumerate() {
            let values = preferences.iter().map(|it| it.value(&room.node));
            let leaf = ground.branch(values);
            let suits = ground.objection(room, suspects).is_none();
            if suits {
                let entry = Reverse((room.containers(), number));
                ground.branches[leaf].free.push(entry);
            }
            ground.leaves.push(leaf);
            ground.suits.push(suits);
        }
        Ok(ground)
    }

    /// The branch with these values, which is made if it is missing.
    fn branch<'a>(&mut self, values: impl Iterator<Item = &'a str>) -> usize {
        let mut branch = 0;
        for value in values {
            branch = match self.branches[branch].values.get(value) {
                Some(known) => *known,
                None => {
                    let new = self.branches.len();
                    self.branches.push(Branch {
                        parent: Some(branch),
                        ..Branch::default()
                    });
                    let parent = &mut self.branches[branch];
                    parent.values.insert(value.to_owned(), new);
                    parent.children.push(new);
                    new
                }
            };
        }
        branch
    }

    /// What speaks against a node for all services that ask the same.
    pub(super) fn objection(&self, room: &Room, suspects: &BTreeSet<NodeId>) -> Option<Objection> {
        let silent = || {
            suspects
                .contains(&room.node.id)
                .then_some(Objection::Silent)
        };
        self.filter.objection(&room.node).or_else(silent)
    }

    pub(super) fn suits(&self, node: usize) -> bool {
        self.suits.get(node).copied().unwrap_or(false)
    }

    /// The branches of a node, from the last to the root.
    pub(super) fn path(&self, node: usize) -> impl Iterator<Item = usize> {
        let leaf = self.leaves.get(node).copied();
        std::iter::successors(leaf, |branch| self.branches.get(*branch)?.parent)
    }

    /// The emptiest node of a branch, with its containers at all.
    pub(super) fn first(&mut self, branch: usize, rooms: &Rooms) -> Option<(u32, usize)> {
        let free = &mut self.branches.get_mut(branch)?.free;
        loop {
            let Reverse((containers, node)) = *free.peek()?;
            let now = rooms.nodes.get(node).map_or(containers, Room::containers);
            if now == containers {
                return Some((containers, node));
            }
            free.pop();
            free.push(Reverse((now, node)));
        }
    }

    /// Puts the emptiest node of a branch aside.
    pub(super) fn put_aside(&mut self, branch: usize) {
        if let Some(branch) = self.branches.get_mut(branch) {
            branch.free.pop();
        }
    }

    /// Brings a node back that was put aside.
    pub(super) fn bring_back(&mut self, node: usize, rooms: &Rooms) {
        if let (Some(leaf), Some(room)) = (self.leaves.get(node), rooms.nodes.get(node))
            && let Some(branch) = self.branches.get_mut(*leaf)
        {
            branch.free.push(Reverse((room.containers(), node)));
        }
    }
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
