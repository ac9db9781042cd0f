//! Chooses a node for each container, or says why there is none.
//!
//! Filters first, then the node with the fewest containers of the service, then with the fewest at
//! all. A container that is run again stays where its files are.

pub mod constraint;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::constraint::Constraint;
use super::slot;
use crate::model::container::ContainerSpec;
use crate::model::id::{NodeId, TaskId};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task, TaskState, TaskStatus};
use crate::state::{Change, Draft, State};

/// Why a container has no node: each node's first objection, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaceable {
    NoNodes,
    /// A volume that it uses is being deleted.
    VolumeLeaves {
        volume: String,
    },
    Constraint {
        error: String,
    },
    Refused(BTreeMap<Objection, usize>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    Down,
    NotAvailable,
    LacksConstraint { constraint: String },
    HasNotTheVolume { volume: String },
    EnoughReplicas { most: u32 },
    TooFewCpus,
    TooLittleMemory,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::NotAvailable => f.write_str("paused or drained"),
            Self::LacksConstraint { constraint } => write!(f, "without `{constraint}`"),
            Self::HasNotTheVolume { volume } => write!(f, "without the data of volume `{volume}`"),
            Self::EnoughReplicas { most } => write!(f, "with {most} of its containers already"),
            Self::TooFewCpus => f.write_str("with too few CPUs"),
            Self::TooLittleMemory => f.write_str("with too little memory"),
        }
    }
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes => f.write_str("no node has joined yet"),
            Self::VolumeLeaves { volume } => {
                write!(f, "waiting until volume {volume} has been deleted")
            }
            Self::Constraint { error } => write!(f, "no node can run it: {error}"),
            Self::Refused(objections) => {
                f.write_str("no node can run it: ")?;
                for (number, (objection, count)) in objections.iter().enumerate() {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}{count} {objection}")?;
                }
                Ok(())
            }
        }
    }
}

pub(super) fn pass(draft: &mut Draft<'_>, open: &[TaskId]) {
    for id in open {
        let Some(task) = draft.state().tasks.get(id).cloned() else {
            continue;
        };
        let Some(service) = draft.state().service_of(&task).cloned() else {
            continue;
        };
        match place(draft.state(), &service, &task) {
            Ok(node) => assign(draft, &service.spec.container, &task, node),
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

/// The node to run a task on.
///
/// # Errors
///
/// Returns [`Unplaceable`] with what each node lacks.
pub fn place(state: &State, service: &Service, task: &Task) -> Result<NodeId, Unplaceable> {
    let spec = &service.spec;
    for name in slot::volumes(&spec.container) {
        if state
            .volumes
            .get(name)
            .is_some_and(|volume| volume.removing)
        {
            let volume = name.to_owned();
            return Err(Unplaceable::VolumeLeaves { volume });
        }
    }
    // A container that exists is where it is.
    if let Some(node) = &task.node {
        return Ok(node.clone());
    }
    if state.nodes.is_empty() {
        return Err(Unplaceable::NoNodes);
    }
    let constraints: Vec<Constraint> = spec
        .placement
        .constraints
        .iter()
        .map(|text| Constraint::parse(text))
        .collect::<Result<_, _>>()
        .map_err(|error| Unplaceable::Constraint {
            error: error.to_string(),
        })?;
    let mut objections = BTreeMap::new();
    let mut best: Option<((usize, usize), &Node)> = None;
    for node in state.nodes.values() {
        if let Some(objection) = objection(state, service, node, &constraints) {
            *objections.entry(objection).or_default() += 1;
            continue;
        }
        let load = load(state, service, &node.id);
        if best.is_none_or(|(least, _)| load < least) {
            best = Some((load, node));
        }
    }
    match best {
        Some((_, node)) => Ok(node.id.clone()),
        None => Err(Unplaceable::Refused(objections)),
    }
}

/// The first thing that speaks against a node.
fn objection(
    state: &State,
    service: &Service,
    node: &Node,
    constraints: &[Constraint],
) -> Option<Objection> {
    if node.status == NodeStatus::Down {
        return Some(Objection::Down);
    }
    if node.availability != Availability::Active {
        return Some(Objection::NotAvailable);
    }
    if let Some(constraint) = constraints.iter().find(|it| !it.holds(node)) {
        let constraint = constraint.to_string();
        return Some(Objection::LacksConstraint { constraint });
    }
    let elsewhere = slot::volumes(&service.spec.container).find(|name| {
        let home = state
            .volumes
            .get(*name)
            .and_then(|volume| volume.node.as_ref());
        home.is_some_and(|home| *home != node.id)
    });
    if let Some(volume) = elsewhere {
        let volume = volume.to_owned();
        return Some(Objection::HasNotTheVolume { volume });
    }
    let most = service.spec.placement.max_replicas_per_node;
    let (of_service, _) = load(state, service, &node.id);
    if most > 0 && of_service >= usize::try_from(most).unwrap_or(usize::MAX) {
        return Some(Objection::EnoughReplicas { most });
    }
    resources(state, service, node)
}

/// What containers have set aside counts, whether or not they use it.
fn resources(state: &State, service: &Service, node: &Node) -> Option<Objection> {
    let wish = &service.spec.container.resources;
    let (cpus, memory) = (wish.cpu_reservation_millis, wish.memory_reservation);
    if cpus.is_none() && memory.is_none() {
        return None;
    }
    let mut used = (0u64, 0u64);
    for task in state.node_tasks(&node.id).filter(|task| holds_place(task)) {
        if let Some(service) = state.service_of(task) {
            let held = &service.spec.container.resources;
            used.0 = used
                .0
                .saturating_add(held.cpu_reservation_millis.unwrap_or(0));
            used.1 = used.1.saturating_add(held.memory_reservation.unwrap_or(0));
        }
    }
    let fits = |wish: Option<u64>, used: u64, all: u64| {
        wish.is_none_or(|wish| all == 0 || used.saturating_add(wish) <= all)
    };
    if !fits(cpus, used.0, node.description.cpu_millis) {
        return Some(Objection::TooFewCpus);
    }
    if !fits(memory, used.1, node.description.memory) {
        return Some(Objection::TooLittleMemory);
    }
    None
}

fn holds_place(task: &Task) -> bool {
    !task.status.state.is_terminal() && task.desired <= DesiredState::Running
}

/// Containers of the service and containers at all on a node.
fn load(state: &State, service: &Service, node: &NodeId) -> (usize, usize) {
    if state.nodes.len() == 1 && service.spec.placement.max_replicas_per_node == 0 {
        return (0, 0);
    }
    let mut load = (0, 0);
    for task in state.node_tasks(node).filter(|task| holds_place(task)) {
        load.0 += usize::from(task.service == service.id);
        load.1 += 1;
    }
    load
}

#[cfg(test)]
mod tests;
