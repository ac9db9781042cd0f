//! A slot: a numbered place of a service, with a container in it, and the runs of that container.
//!
//!     service web, slot 2:   container a1 (version 3): run, run, run
//!                            container b7 (version 4): run            ← the last one counts

use std::collections::{BTreeMap, BTreeSet};

use super::place;
use crate::model::container::{ContainerSpec, MountSource};
use crate::model::id::NodeId;
use crate::model::service::{AnonymousVolumes, Service, ServiceMode};
use crate::model::task::{DesiredState, HealthStatus, Task, TaskState, TaskStatus, WaitsFor};
use crate::model::time::Timestamp;
use crate::state::{Draft, State};

/// Why a container is run once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A person wants it.
    Person(WaitsFor),
    /// Its restart policy: failures in a row so far, and the time before which it must not start.
    Policy {
        failures: u32,
        start_after: Timestamp,
    },
}

/// The slots that a service should have, and the node that each belongs to, where it does.
///
/// A service with a container on each node has a slot for each node that suits it: the one it had
/// before, or else the lowest free number. A node that is down keeps its slot, one that is paused
/// gets none.
pub fn layout(state: &State, service: &Service) -> BTreeMap<u32, Option<NodeId>> {
    let count = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicas,
        ServiceMode::ReplicatedJob { completions, .. } => completions,
        ServiceMode::Standalone { .. } => 1,
        ServiceMode::Global | ServiceMode::GlobalJob => return on_each_node(state, service),
    };
    (1..=count).map(|slot| (slot, None)).collect()
}

fn on_each_node(state: &State, service: &Service) -> BTreeMap<u32, Option<NodeId>> {
    let mut slots: BTreeMap<&NodeId, u32> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for task in state.service_tasks(&service.id) {
        taken.insert(task.slot);
        if let Some(node) = &task.node {
            slots.insert(node, task.slot);
        }
    }
    let mut free = (1..).filter(|number| !taken.contains(number));
    let suits = place::OnEach::of(state, service);
    let mut layout = BTreeMap::new();
    for node in state.nodes.values() {
        let slot = match slots.get(&node.id) {
            Some(slot) if suits.keeps(node) => Some(*slot),
            None if suits.takes(node) => free.next(),
            _ => None,
        };
        layout.extend(slot.map(|slot| (slot, Some(node.id.clone()))));
    }
    layout
}

/// Whether the service should have this slot.
pub fn is_wanted(state: &State, service: &Service, slot: u32) -> bool {
    match service.spec.mode {
        ServiceMode::Replicated { replicas } => slot <= replicas,
        ServiceMode::ReplicatedJob { completions, .. } => slot <= completions,
        ServiceMode::Standalone { .. } => slot == 1,
        ServiceMode::Global | ServiceMode::GlobalJob => layout(state, service).contains_key(&slot),
    }
}

/// `stack-service-slot`, or the fixed name; of a container made on its own, its name.
pub fn container_name(service: &Service, slot: u32) -> String {
    if let Some(name) = &service.spec.container_name {
        return name.clone();
    }
    match &service.stack {
        Some(stack) => format!("{stack}-{}-{slot}", service.spec.name),
        None => service.spec.name.clone(),
    }
}

/// Makes a new container in a slot. `replaces` is the one that was there before; `node` is the one
/// that the slot belongs to.
pub fn make(
    draft: &mut Draft<'_>,
    service: &Service,
    slot: u32,
    desired: DesiredState,
    replaces: Option<&Task>,
    node: Option<&NodeId>,
) -> Task {
    let carries = service.anonymous_volumes == AnonymousVolumes::TakeOver;
    let task = Task {
        id: draft.task_id(),
        container: draft.container_id(),
        service: service.id.clone(),
        slot,
        name: container_name(service, slot),
        version: service.version,
        node: node.cloned(),
        desired,
        stop: None,
        status: TaskStatus::new(TaskState::New, draft.now, "just made"),
        attachments: Vec::new(),
        resources: BTreeMap::new(),
        waits_for: WaitsFor::Dependencies,
        replaces: replaces
            .filter(|_| carries)
            .map(|old| old.container.clone()),
        failures: 0,
        restarts: 0,
        avoids: None,
        condemned: None,
        start_after: Timestamp::EPOCH,
        created_at: draft.now,
    };
    draft.set_task(task.clone());
    task
}

/// Runs the same container once more, on the same node and with the same addresses, as soon as the
/// run before has ended.
pub fn rerun(
    draft: &mut Draft<'_>,
    before: &Task,
    desired: DesiredState,
    cause: Cause,
    reason: impl Into<String>,
) {
    let (waits_for, failures, restarts, start_after) = match cause {
        Cause::Person(waits_for) => (waits_for, 0, 0, Timestamp::EPOCH),
        Cause::Policy {
            failures,
            start_after,
        } => (
            WaitsFor::WhatComes,
            failures,
            before.restarts + 1,
            start_after,
        ),
    };
    let task = Task {
        id: draft.task_id(),
        desired,
        stop: None,
        status: TaskStatus::new(TaskState::New, draft.now, reason),
        waits_for,
        failures,
        restarts,
        condemned: None,
        start_after,
        created_at: draft.now,
        ..before.clone()
    };
    draft.set_task(task);
}

/// Running, and not known to be ill or still coming up.
pub fn is_serving(task: &Task) -> bool {
    let healthy = task.status.health.as_ref();
    task.status.state == TaskState::Running
        && healthy.is_none_or(|health| health.status == HealthStatus::Healthy)
}

/// A node runs it, or may run it at any moment: it was told to and has not said that it ended.
pub fn is_live(task: &Task) -> bool {
    task.status.state >= TaskState::Assigned && !task.status.state.is_terminal()
}

/// It has been running, in this run or an earlier one.
pub fn has_run(task: &Task) -> bool {
    task.status.state == TaskState::Running || task.status.started_at.is_some() || task.restarts > 0
}

/// Names of the named volumes that a container uses, each as often as it is mounted.
pub fn volumes(spec: &ContainerSpec) -> impl Iterator<Item = &str> {
    spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name.as_str()),
        MountSource::Anonymous { .. }
        | MountSource::Image { .. }
        | MountSource::Bind { .. }
        | MountSource::Tmpfs { .. } => None,
    })
}

/// The slots that should have a container that runs.
pub fn active(state: &State, service: &Service) -> BTreeSet<u32> {
    let mut slots: BTreeSet<u32> = layout(state, service).into_keys().collect();
    slots.retain(|slot| !service.halted.contains(slot));
    slots
}
