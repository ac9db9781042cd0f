//! Chooses a node for each container, or says why there is none.
//!
//! Filters first; then the branch with the fewest containers of the service, by the preferences;
//! then the node with the fewest of the service, then with the fewest at all. A container that is
//! run again stays where its files are, and one that shares a namespace or volumes with another goes
//! where that one is (see [`beside`]). Containers of one service are placed in one go.

mod beside;
mod choice;
mod claim;
pub mod constraint;
pub mod objection;
mod room;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::choice::{Choice, Filter};
use self::claim::Claim;
pub use self::objection::{Objection, Unplaceable};
use self::room::{Room, Rooms};
use super::{nodes, slot};
use crate::assignment::build::spec_of;
use crate::model::container::ContainerSpec;
use crate::model::id::{NodeId, ServiceId, TaskId};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::{Task, TaskState, TaskStatus};
use crate::state::{Change, Draft, State};

pub(super) fn pass(draft: &mut Draft<'_>, open: &[TaskId]) {
    let mut placer = Placer {
        suspects: draft.suspects().clone(),
        ..Placer::default()
    };
    for id in open {
        let Some(task) = draft.state().tasks.get(id).cloned() else {
            continue;
        };
        let Some(spec) = spec_of(draft.state(), &task).cloned() else {
            continue;
        };
        match placer.place(draft.state(), &spec, &task) {
            Ok(node) => assign(draft, &spec.container, &task, node),
            Err(why) => draft.explain(&task, why.to_string()),
        }
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
    task.node = Some(node);
    draft.set_task(task);
}

/// What one pass has found out and placed so far.
#[derive(Default)]
struct Placer {
    /// Nodes that are silent, but not yet down: nothing begins there.
    suspects: BTreeSet<NodeId>,
    rooms: Option<Rooms>,
    choices: BTreeMap<(ServiceId, u64), Result<Choice, Unplaceable>>,
}

impl Placer {
    fn place(
        &mut self,
        state: &State,
        spec: &ServiceSpec,
        task: &Task,
    ) -> Result<NodeId, Unplaceable> {
        leaving_volume(state, spec)?;
        if let Some(node) = &task.node {
            return self.stay(state, spec, task, node);
        }
        let Some(service) = state.service_of(task) else {
            return Err(Unplaceable::NoNodes);
        };
        if let Some(home) = beside::home(state, service, spec, task)? {
            return self.beside(state, spec, task, &home.node);
        }
        let rooms = self.rooms.get_or_insert_with(|| Rooms::of(state, None));
        let key = (task.service.clone(), task.version);
        // A volume that has just been bound to a node narrows the choice of the next container.
        let binds = slot::volumes(&spec.container).next().is_some();
        if binds {
            self.choices.remove(&key);
        }
        let choice = self.choices.entry(key);
        let suspects = &self.suspects;
        let choice = choice.or_insert_with(|| Choice::new(state, rooms, service, spec, suspects));
        match choice {
            Ok(choice) => choice.next(rooms, task.avoids.as_ref()),
            Err(why) => Err(why.clone()),
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
            _ => None,
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
    let rooms = Rooms::of(state, Some(&task.id));
    let number = rooms.number(node)?;
    rooms.nodes.get(number)?.lacks(&claim)
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
    let rooms = Rooms::of(state, None);
    let filter = Filter::new(state, &service.spec)?;
    let nobody = BTreeSet::new();
    let choice = Choice::new(state, &rooms, service, &service.spec, &nobody)?;
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
                .or_else(|| choice.full(room, number)),
        )
    };
    Ok(rooms.nodes.iter().enumerate().map(answer).collect())
}

/// Whether a node that was good for a container no longer is: it is drained, or what the service
/// asks of its nodes no longer holds there. A container that can be nowhere else is not asked.
pub(super) fn displaced(state: &State, service: &Service, task: &Task) -> Option<Objection> {
    if service.is_standalone() {
        return None;
    }
    let node = state.nodes.get(task.node.as_ref()?)?;
    if node.availability == Availability::Drain {
        return (!nodes::is_bound(state, service, task)).then_some(Objection::Drained);
    }
    let spec = spec_of(state, task)?;
    if let Some(container) = left_behind(state, service, spec, task) {
        return Some(Objection::NotBeside { container });
    }
    if service.spec.placement.constraints.is_empty() {
        return None;
    }
    let filter = Filter::new(state, spec).ok()?;
    let objection = filter.unsuitable(node)?;
    (!nodes::is_bound(state, service, task)).then_some(objection)
}

/// The container that it shares something with, where that one has moved to another node.
fn left_behind(
    state: &State,
    service: &Service,
    spec: &ServiceSpec,
    task: &Task,
) -> Option<String> {
    let home = beside::home(state, service, spec, task).ok()??;
    (Some(&home.node) != task.node.as_ref()).then_some(home.container)
}

/// Whether a node keeps its container of a service that has one on each node.
pub(super) fn keeps(state: &State, service: &Service, node: &Node) -> bool {
    let filter = Filter::new(state, &service.spec);
    node.availability != Availability::Drain
        && filter.is_ok_and(|filter| filter.unsuitable(node).is_none())
}

/// Whether a node gets a container of a service that has one on each node.
pub(super) fn takes(state: &State, service: &Service, node: &Node) -> bool {
    let filter = Filter::new(state, &service.spec);
    filter.is_ok_and(|filter| filter.objection(node).is_none())
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
    Placer::default().place(state, &service.spec, task)
}

#[cfg(test)]
mod tests;
