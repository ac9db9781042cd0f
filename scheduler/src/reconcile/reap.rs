//! Takes away what has been replaced, has ended for good, or is not used any more.
//!
//! A container whose service is at its version is kept after its end, as `docker ps -a` shows it;
//! one that was replaced goes as soon as its successor has what it needs of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{restart, slot};
use crate::model::id::{NetworkId, ServiceId};
use crate::model::service::{AnonymousVolumes, Service, ServiceMode};
use crate::model::stack::{StackRecord, StackRemoval};
use crate::model::task::{DesiredState, StopOrder, Task, TaskState};
use crate::state::{Change, Draft, State, is_on_node};

/// Runs of one container that are remembered: the last, and the one before.
const RUNS: usize = 2;

pub(super) fn pass(draft: &mut Draft<'_>) {
    runs(draft);
    services(draft);
    stacks(draft);
    networks(draft);
    volumes(draft);
}

/// The usual case, looked at without making anything: a living container in each slot.
fn is_clean(state: &State, service: &ServiceId) -> bool {
    let mut last = 0;
    state.service_tasks(service).all(|task| {
        let next = task.slot > last;
        last = task.slot;
        next && task.desired <= DesiredState::Running && !task.status.state.is_terminal()
    })
}

/// Settles ended runs, forgets old ones, and removes containers that were replaced.
fn runs(draft: &mut Draft<'_>) {
    let state = draft.state();
    let mut by_slot: BTreeMap<(ServiceId, u32), Vec<Arc<Task>>> = BTreeMap::new();
    let restless = state.restless_services().map(|service| &service.id);
    for service in restless.filter(|id| !is_clean(state, id)) {
        for task in state.service_tasks(service) {
            let slot = (service.clone(), task.slot);
            by_slot.entry(slot).or_default().push(task.clone());
        }
    }
    for tasks in by_slot.values() {
        let Some((last, before)) = tasks.split_last() else {
            continue;
        };
        settle(draft, last);
        if before.is_empty() {
            continue;
        }
        for task in before {
            settle(draft, task);
            if task.container != last.container {
                // Prepared for an update that another one has overtaken: it will never serve.
                if task.desired == DesiredState::Ready {
                    draft.desire(task, DesiredState::Shutdown, None);
                }
                replaced(draft, task, last);
            }
        }
        forget(draft, tasks);
    }
}

/// What has ended is not wanted to run: a node that lost its memory must not start it again.
fn settle(draft: &mut Draft<'_>, task: &Task) {
    if task.status.state.is_terminal() && task.desired < DesiredState::Shutdown {
        draft.desire(task, DesiredState::Shutdown, None);
    }
    if task.desired >= DesiredState::Shutdown && !is_on_node(task) {
        draft.push(Change::RemoveTask(task.id.clone()));
    }
}

fn replaced(draft: &mut Draft<'_>, task: &Task, successor: &Task) {
    let prepared =
        successor.status.state >= TaskState::Ready && successor.status.state != TaskState::Rejected;
    let useless = task.status.state == TaskState::Rejected;
    if !task.status.state.is_terminal() || !(prepared || useless) {
        return;
    }
    let renewed = draft
        .state()
        .service_of(task)
        .is_some_and(|service| service.anonymous_volumes == AnonymousVolumes::Renew);
    let order = StopOrder {
        remove_volumes: renewed,
        ..StopOrder::default()
    };
    draft.desire(task, DesiredState::Remove, Some(&order));
}

fn forget(draft: &mut Draft<'_>, tasks: &[Arc<Task>]) {
    let mut later: BTreeMap<&str, usize> = BTreeMap::new();
    for task in tasks.iter().rev() {
        let seen = later.entry(task.container.as_str()).or_default();
        *seen += 1;
        if *seen > RUNS && task.status.state.is_terminal() {
            draft.push(Change::RemoveTask(task.id.clone()));
        }
    }
}

fn services(draft: &mut Draft<'_>) {
    let leaving: Vec<Arc<Service>> = draft
        .state()
        .restless_services()
        .filter(|service| service.removal.is_some() || service.is_standalone())
        .cloned()
        .collect();
    for service in leaving {
        let left = draft.state().service_tasks(&service.id).next().is_some();
        if service.removal.is_some() {
            if !left {
                draft.push(Change::RemoveService(service.id.clone()));
            }
        } else if is_done(draft.state(), &service) {
            let mut service = (*service).clone();
            service.removal = Some(StopOrder {
                remove_volumes: true,
                ..StopOrder::default()
            });
            draft.push(Change::SetService(Arc::new(service)));
        } else if service.is_standalone() && !left {
            // Its only container is gone.
            draft.push(Change::RemoveService(service.id.clone()));
        }
    }
}

/// `--rm`: it has ended and its policy does not start it again.
fn is_done(state: &State, service: &Service) -> bool {
    let ServiceMode::Standalone { auto_remove: true } = service.spec.mode else {
        return false;
    };
    let last = state.service_tasks(&service.id).next_back();
    last.is_some_and(|task| restart::is_final(state, task) && slot::has_run(task))
}

/// A stack goes when its last container has gone, and takes what belongs to it along.
fn stacks(draft: &mut Draft<'_>) {
    let leaving: Vec<(Arc<StackRecord>, StackRemoval)> = draft
        .state()
        .stacks
        .values()
        .filter_map(|stack| Some((stack.clone(), stack.removal?)))
        .collect();
    for (stack, removal) in leaving {
        let state = draft.state();
        let of_stack = |owner: &Option<String>| owner.as_deref() == Some(stack.name.as_str());
        if state
            .services
            .values()
            .any(|service| of_stack(&service.stack))
        {
            continue;
        }
        let mut changes = Vec::new();
        for network in state.networks.values().filter(|it| of_stack(&it.stack)) {
            let mut network = (**network).clone();
            network.removing = true;
            changes.push(Change::SetNetwork(Arc::new(network)));
        }
        for volume in state.volumes.values().filter(|it| of_stack(&it.stack)) {
            if removal == StackRemoval::DeleteVolumes && !volume.removing {
                let mut volume = (**volume).clone();
                volume.removing = true;
                changes.push(Change::SetVolume(Arc::new(volume)));
            }
        }
        for secret in state.secrets.values().filter(|it| of_stack(&it.stack)) {
            changes.push(Change::RemoveSecret(secret.spec.name.clone()));
        }
        for config in state.configs.values().filter(|it| of_stack(&it.stack)) {
            changes.push(Change::RemoveConfig(config.spec.name.clone()));
        }
        changes.push(Change::RemoveStack(stack.name.clone()));
        changes.into_iter().for_each(|change| draft.push(change));
    }
}

fn networks(draft: &mut Draft<'_>) {
    let state = draft.state();
    if !state.networks.values().any(|network| network.removing) {
        return;
    }
    let used = used_networks(state);
    let free: Vec<NetworkId> = state
        .networks
        .values()
        .filter(|network| network.removing && !used.contains(&network.id))
        .map(|network| network.id.clone())
        .collect();
    for id in free {
        draft.push(Change::RemoveNetwork(id));
    }
}

/// The networks on which a container, running or not, has a place.
pub(super) fn used_networks(state: &State) -> BTreeSet<NetworkId> {
    let attachments = state.tasks.values().flat_map(|task| &task.attachments);
    attachments
        .map(|attachment| attachment.network.clone())
        .collect()
}

/// Data that no node has is gone already.
fn volumes(draft: &mut Draft<'_>) {
    let free: Vec<String> = draft
        .state()
        .volumes
        .values()
        .filter(|volume| volume.removing && volume.node.is_none())
        .map(|volume| volume.spec.name.clone())
        .collect();
    for name in free {
        draft.push(Change::RemoveVolume(name));
    }
}
