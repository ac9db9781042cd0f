//! Chooses a node for each container, or says why there is none.
//!
//! Filters first; then the branch with the fewest containers of the service, by the preferences;
//! then the node with the fewest of the service, then with the fewest at all. A container that is
//! run again stays where its files are, and one that shares a namespace or volumes with another goes
//! where that one is (see [`beside`]). Containers of one service are placed in one go.

mod beside;
mod choice;
pub mod constraint;
mod filter;
mod grant;
mod ground;
pub mod objection;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::choice::{Choice, Demand};
use self::filter::Filter;
use self::ground::{Ground, Wish};
pub use self::objection::{Objection, Unplaceable};
use self::room::{Room, Rooms};
use super::memory::Memory;
use super::{nodes, slot};
use crate::assignment::build::spec_of;
use crate::model::container::ContainerSpec;
use crate::model::id::{NodeId, ServiceId};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::{Task, TaskState, TaskStatus};
use crate::state::load::Claim;
use crate::state::{Change, Draft, State};

pub(super) fn pass(draft: &mut Draft<'_>, open: Vec<Arc<Task>>) {
    let mut groups: BTreeMap<(ServiceId, u64), Vec<Arc<Task>>> = BTreeMap::new();
    for task in open {
        let group = groups.entry((task.service.clone(), task.version));
        group.or_default().push(task);
    }
    let mut placer = Placer {
        suspects: draft.suspects().clone(),
        ..Placer::default()
    };
    for tasks in groups.values() {
        let spec = tasks.first().and_then(|task| spec_of(draft.state(), task));
        let Some(spec) = spec.cloned() else {
            continue;
        };
        let mut group = Group::default();
        for task in tasks {
            match placer.place(draft.state(), &mut group, &spec, task) {
                Ok(node) => assign(draft, &spec.container, task, node),
                Err(why) => draft.explain(task, why.to_string()),
            }
        }
        placer.end(group);
    }
}

/// A named volume stays on the node of the first container that uses it.
fn assign(draft: &mut Draft<'_>, spec: &ContainerSpec, task: &Task, node: NodeId) {
    let unbound: Vec<_> = slot::volumes(spec)
        .filter_map(|name| draft.state().volumes.get(name))
        .filter(|volume| volume.node.is_none())
        .cloned()
        .collect();
    for volume in unbound {
        let mut volume = (*volume).clone();
        volume.node = Some(node.clone());
        draft.push(Change::SetVolume(Arc::new(volume)));
    }
    let mut task = task.clone();
    task.status = TaskStatus::new(TaskState::Assigned, draft.now, "waiting for the node");
    task.resources = grant::of(draft.state(), spec, &task, &node);
    task.node = Some(node);
    draft.set_task(task);
}

/// What one pass has found out and placed so far.
#[derive(Default)]
struct Placer {
    /// Nodes that are silent, but not yet down: nothing begins there.
    suspects: BTreeSet<NodeId>,
    rooms: Option<Rooms>,
    grounds: BTreeMap<Wish, Ground>,
}

/// Containers of one version of a service, which are placed in one go.
#[derive(Default)]
struct Group {
    choice: Option<(Wish, Choice)>,
}

impl Placer {
    fn place(
        &mut self,
        state: &State,
        group: &mut Group,
        spec: &ServiceSpec,
        task: &Task,
    ) -> Result<NodeId, Unplaceable> {
        leaving_volume(state, spec)?;
        if let Some(node) = &task.node {
            return self.stay(state, spec, task, node);
        }
        // A volume that has just been bound to a node narrows the choice of the next container.
        if slot::volumes(&spec.container).next().is_some() {
            self.end(std::mem::take(group));
        }
        if let Some(service) = state.service_of(task)
            && let Some(home) = beside::home(state, service, spec, task)?
        {
            return self.beside(state, spec, task, &home.node);
        }
        let rooms = self.rooms.get_or_insert_with(|| Rooms::of(state));
        let (wish, choice) = match &mut group.choice {
            Some(known) => known,
            none => none.insert(Self::begin(
                &mut self.grounds,
                rooms,
                state,
                spec,
                task,
                &self.suspects,
            )?),
        };
        let Some(ground) = self.grounds.get_mut(wish) else {
            return Err(Unplaceable::NoNodes);
        };
        choice.next(ground, rooms, &self.suspects, task.avoids.as_ref())
    }

    fn begin(
        grounds: &mut BTreeMap<Wish, Ground>,
        rooms: &Rooms,
        state: &State,
        spec: &ServiceSpec,
        task: &Task,
        suspects: &BTreeSet<NodeId>,
    ) -> Result<(Wish, Choice), Unplaceable> {
        let Some(service) = state.service_of(task) else {
            return Err(Unplaceable::NoNodes);
        };
        let wish = Wish::of(state, spec);
        if !grounds.contains_key(&wish) {
            grounds.insert(wish.clone(), Ground::new(state, rooms, spec, suspects)?);
        }
        let Some(ground) = grounds.get(&wish) else {
            return Err(Unplaceable::NoNodes);
        };
        let demand = Demand::of(state, rooms, service, spec);
        Ok((wish, Choice::new(demand, ground, rooms)))
    }

    fn end(&mut self, group: Group) {
        if let Some((wish, choice)) = group.choice
            && let Some(rooms) = &self.rooms
            && let Some(ground) = self.grounds.get_mut(&wish)
        {
            choice.end(ground, rooms);
        }
    }

    /// On this node, or nowhere.
    fn beside(
        &mut self,
        state: &State,
        spec: &ServiceSpec,
        task: &Task,
        node: &NodeId,
    ) -> Result<NodeId, Unplaceable> {
        let node = self.stay(state, spec, task, node)?;
        if let Some(rooms) = &mut self.rooms
            && let Some(number) = rooms.number(&node)
            && let Some(room) = rooms.nodes.get_mut(number)
        {
            room.take(&Claim::of(&spec.container));
        }
        Ok(node)
    }

    /// A container that exists is where it is, and one of a service with a container on each node
    /// belongs to its node; but nothing begins on a node that is gone or drained.
    fn stay(
        &self,
        state: &State,
        spec: &ServiceSpec,
        task: &Task,
        node: &NodeId,
    ) -> Result<NodeId, Unplaceable> {
        let Some(found) = state.nodes.get(node) else {
            return Err(Unplaceable::NoNodes);
        };
        let first = state
            .container_tasks(&task.container)
            .all(|run| run.id == task.id);
        let objection = match (found.status, found.availability) {
            (NodeStatus::Down, _) => Some(Objection::Down),
            (NodeStatus::Ready, Availability::Drain) => Some(Objection::Drained),
            _ if first && self.suspects.contains(node) => Some(Objection::Silent),
            _ if first => Filter::new(state, spec)?
                .objection(found)
                .or_else(|| lacks(state, spec, task, node)),
            _ => grant::taken(state, task).map(|resource| Objection::TooFew { resource }),
        };
        match objection {
            None => Ok(node.clone()),
            Some(objection) => Err(Unplaceable::refused(objection, 1)),
        }
    }
}

fn leaving_volume(state: &State, spec: &ServiceSpec) -> Result<(), Unplaceable> {
    let leaves = |name: &&str| state.volumes.get(*name).is_some_and(|it| it.removing);
    match slot::volumes(&spec.container).find(leaves) {
        None => Ok(()),
        Some(volume) => Err(Unplaceable::VolumeLeaves {
            volume: volume.to_owned(),
        }),
    }
}

/// What the node of a task lacks for it.
fn lacks(state: &State, spec: &ServiceSpec, task: &Task, node: &NodeId) -> Option<Objection> {
    let claim = Claim::of(&spec.container);
    if claim.is_empty() {
        return None;
    }
    let room = Room::without(state, state.nodes.get(node)?, task);
    room.lacks(&claim)
}

/// What each node says to one more container of a service: nothing, if it can have it.
///
/// # Errors
///
/// Returns [`Unplaceable`] where no node needs to be asked.
pub fn ask_all(
    state: &State,
    service: &Service,
) -> Result<Vec<(NodeId, Option<Objection>)>, Unplaceable> {
    leaving_volume(state, &service.spec)?;
    if state.nodes.is_empty() {
        return Err(Unplaceable::NoNodes);
    }
    let rooms = Rooms::of(state);
    let filter = Filter::new(state, &service.spec)?;
    let demand = Demand::of(state, &rooms, service, &service.spec);
    // Of the slots that have been made, the last one stands for those that may come.
    let last = state.service_tasks(&service.id).next_back();
    let home = last.map(|task| beside::home(state, service, &service.spec, task));
    let home = home.transpose()?.flatten();
    let answer = |(number, room): (usize, &Room)| {
        let objection = filter.objection(&room.node);
        let apart = || {
            let home = home.as_ref().filter(|home| home.node != room.node.id)?;
            let container = home.container.clone();
            Some(Objection::NotBeside { container })
        };
        (
            room.node.id.clone(),
            objection
                .or_else(apart)
                .or_else(|| demand.full(room, number)),
        )
    };
    Ok(rooms.nodes.iter().enumerate().map(answer).collect())
}

/// Whether nodes that were good for the containers of a service no longer are: they are drained, or
/// what the service asks of its nodes no longer holds there. Containers that can be nowhere else are
/// not asked.
pub(super) struct Displaced<'a> {
    state: &'a State,
    service: &'a Service,
    /// By version; none at all where nothing is asked that could cease to hold.
    filters: BTreeMap<u64, Option<Filter>>,
}

/// Services that may have displaced containers although they are at rest.
pub(super) fn perhaps_displaced<'a>(state: &'a State, memory: &Memory) -> BTreeSet<&'a ServiceId> {
    let constrained = state.constrained_services();
    let doubtful = constrained.filter(|service| !memory.suits(state, service));
    let troubled = state.troubled_nodes();
    let on_troubled = troubled.flat_map(|node| state.node_tasks(node));
    let on_troubled = on_troubled.map(|task| &task.service);
    doubtful
        .map(|service| &service.id)
        .chain(on_troubled)
        .collect()
}

impl<'a> Displaced<'a> {
    pub(super) fn of(state: &'a State, service: &'a Service) -> Self {
        let mut filters = BTreeMap::new();
        if !service.spec.placement.constraints.is_empty() {
            let versions = service
                .versions
                .iter()
                .map(|(version, spec)| (*version, spec));
            for (version, spec) in versions.chain([(service.version, &service.spec)]) {
                let filter = filters.entry(version);
                filter.or_insert_with(|| Filter::new(state, spec).ok());
            }
        }
        Self {
            state,
            service,
            filters,
        }
    }

    pub(super) fn objection(&self, task: &Task) -> Option<Objection> {
        if self.service.is_standalone() {
            return None;
        }
        let node = self.state.nodes.get(task.node.as_ref()?)?;
        let objection = if node.availability == Availability::Drain {
            Objection::Drained
        } else if let Some(container) = self.left_behind(task) {
            return Some(Objection::NotBeside { container });
        } else {
            let own = self.filters.get(&task.version);
            let filter = own.or_else(|| self.filters.get(&self.service.version))?;
            filter.as_ref()?.unsuitable(node)?
        };
        (!nodes::is_bound(self.state, self.service, task)).then_some(objection)
    }

    /// The container that it shares something with, where that one has moved to another node.
    fn left_behind(&self, task: &Task) -> Option<String> {
        let spec = spec_of(self.state, task)?;
        let home = beside::home(self.state, self.service, spec, task).ok()??;
        (Some(&home.node) != task.node.as_ref()).then_some(home.container)
    }
}

/// The nodes that keep or get a container of a service that has one on each node.
pub(super) struct OnEach {
    filter: Result<Filter, Unplaceable>,
}

impl OnEach {
    pub(super) fn of(state: &State, service: &Service) -> Self {
        let filter = Filter::new(state, &service.spec);
        Self { filter }
    }

    /// Whether a node keeps its container.
    pub(super) fn keeps(&self, node: &Node) -> bool {
        let filter = self.filter.as_ref();
        node.availability != Availability::Drain
            && filter.is_ok_and(|filter| filter.unsuitable(node).is_none())
    }

    /// Whether a node gets a container.
    pub(super) fn takes(&self, node: &Node) -> bool {
        let filter = self.filter.as_ref();
        filter.is_ok_and(|filter| filter.objection(node).is_none())
    }
}

/// Whether a container could run on another node than the one it is on.
pub(super) fn is_movable(state: &State, service: &Service, task: &Task) -> bool {
    if service.is_standalone() || service.is_on_each_node() {
        return false;
    }
    let others = ask_all(state, service).unwrap_or_default();
    others
        .iter()
        .any(|(node, objection)| objection.is_none() && Some(node) != task.node.as_ref())
}

/// The node to run a task on.
///
/// # Errors
///
/// Returns [`Unplaceable`] with what each node lacks.
#[cfg(test)]
fn place(state: &State, service: &Service, task: &Task) -> Result<NodeId, Unplaceable> {
    Placer::default().place(state, &mut Group::default(), &service.spec, task)
}

#[cfg(test)]
mod tests;
