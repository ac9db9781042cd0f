//! What becomes of containers whose node is gone, down or drained.
//!
//! | the node | its containers |
//! |---|---|
//! | removed | forgotten |
//! | down | made anew elsewhere; the node drops the old ones when it returns |
//! | down, and a container is to go with its service | forgotten; the node drops it when it returns |
//! | down, and a container is bound to it | left as it is: only that node has its data |
//! | drained, and a container is bound to it | stopped, and run again when the node is active |
//!
//! Other containers of a drained node move as their update configuration says: see
//! [`rollout`](super::rollout).

use std::sync::Arc;

use super::slot::{self, Cause};
use crate::assignment::build::spec_of;
use crate::model::id::NodeId;
use crate::model::node::{Node, NodeStatus};
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task, TaskState, TaskStatus, WaitsFor};
use crate::state::{Change, Draft, State, is_on_node};

pub(super) fn pass(draft: &mut Draft<'_>) {
    let troubled: Vec<NodeId> = draft.state().troubled_nodes().cloned().collect();
    for id in troubled {
        let tasks: Vec<Arc<Task>> = draft.state().node_tasks(&id).cloned().collect();
        let node = draft.state().nodes.get(&id).cloned();
        for task in tasks {
            match &node {
                // What was on a node that is no longer one is nobody's.
                None => draft.push(Change::ForgetContainer(task.container.clone())),
                Some(node) if node.status == NodeStatus::Down => give_up(draft, node, &task),
                Some(node) => put_aside(draft, node, &task),
            }
        }
    }
    forget_volumes(draft);
}

/// Volumes of a node that is no longer one begin anew elsewhere.
fn forget_volumes(draft: &mut Draft<'_>) {
    let state = draft.state();
    let gone = |node: &Option<_>| {
        node.as_ref()
            .is_some_and(|it| !state.nodes.contains_key(it))
    };
    let volumes = state.volumes.values().filter(|volume| gone(&volume.node));
    let volumes: Vec<_> = volumes
        .map(|volume| {
            let mut volume = (**volume).clone();
            volume.node = None;
            Change::SetVolume(Arc::new(volume))
        })
        .collect();
    for change in volumes {
        draft.push(change);
    }
}

/// A container on a node that is down: its place is free for another one.
fn give_up(draft: &mut Draft<'_>, node: &Node, task: &Task) {
    let Some(service) = draft.state().service_of(task).cloned() else {
        return;
    };
    // Nobody waits for a node that may never come back to remove what nobody wants.
    if service.removal.is_some() {
        draft.push(Change::ForgetContainer(task.container.clone()));
        return;
    }
    if task.status.state.is_terminal() || is_bound(draft.state(), &service, task) {
        return;
    }
    if task.desired > DesiredState::Running {
        return;
    }
    if !is_on_node(task) {
        draft.push(Change::RemoveTask(task.id.clone()));
        return;
    }
    let why = match node.status_reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let reason = format!("node {} is down{why}", node.name());
    draft.desire(task, DesiredState::Remove, None);
    let status = TaskStatus {
        finished_at: Some(draft.now),
        ..TaskStatus::new(TaskState::Orphaned, draft.now, reason)
    };
    draft.push(Change::Observe(task.id.clone(), Box::new(status)));
}

/// A container that can be nowhere else than on the node that is drained.
fn put_aside(draft: &mut Draft<'_>, node: &Node, task: &Task) {
    let Some(service) = draft.state().service_of(task).cloned() else {
        return;
    };
    let wanted = service.removal.is_none()
        && (task.version == service.version || service.rollout.is_paused())
        && !service.halted.contains(&task.slot)
        && !service.is_on_each_node()
        && !service.is_standalone();
    if !wanted || !is_bound(draft.state(), &service, task) {
        return;
    }
    if slot::is_live(task) {
        draft.desire(task, DesiredState::Shutdown, None);
        return;
    }
    let slots = draft.state().slots(&service.id);
    let last = slots.get(&task.slot).is_some_and(|last| last.id == task.id);
    if last && task.status.state == TaskState::Shutdown {
        let reason = format!("node {} is drained", node.name());
        let cause = Cause::Person(WaitsFor::Nothing);
        slot::rerun(draft, task, DesiredState::Running, cause, reason);
    }
}

/// Whether only this node can run it: it has the data, or it is the one it is for.
pub(super) fn is_bound(state: &State, service: &Service, task: &Task) -> bool {
    if service.is_standalone() || service.is_on_each_node() {
        return true;
    }
    let Some(spec) = spec_of(state, task) else {
        return false;
    };
    slot::volumes(&spec.container).any(|name| {
        let volume = state.volumes.get(name);
        volume.is_some_and(|volume| volume.node.is_some() && volume.node == task.node)
    })
}
