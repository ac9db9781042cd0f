//! Gives each service as many containers as it should have: makes what is missing, removes what is
//! too much. A job gets a few at a time, and begins anew with each version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::slot;
use crate::model::id::ContainerId;
use crate::model::service::{Service, ServiceMode};
use crate::model::task::{DesiredState, Task, TaskState, WaitsFor};
use crate::state::{Draft, State};

pub(super) fn pass(draft: &mut Draft<'_>) {
    let state = draft.state();
    let unfilled: Vec<Arc<Service>> = state
        .restless_services()
        .filter(|service| service.removal.is_none() && !service.is_standalone())
        .filter(|service| !is_filled(state, service))
        .cloned()
        .collect();
    for service in unfilled {
        if service.is_job() {
            drop_earlier_versions(draft, &service);
        }
        fill(draft, &service);
        trim(draft, &service);
    }
}

/// The usual case, looked at without making anything: one container in each slot, and no other.
fn is_filled(state: &State, service: &Service) -> bool {
    let ServiceMode::Replicated { replicas } = service.spec.mode else {
        return false;
    };
    let mut next = 1;
    for task in state.service_tasks(&service.id) {
        if task.slot != next || task.desired == DesiredState::Remove {
            return false;
        }
        next += 1;
    }
    next == replicas + 1
}

/// A slot in which a person has stopped or removed the container is left empty.
fn fill(draft: &mut Draft<'_>, service: &Service) {
    let state = draft.state();
    let taken = taken(state, service);
    let mut layout = slot::layout(state, service);
    layout.retain(|slot, _| !taken.contains(slot) && !service.halted.contains(slot));
    let most = at_once(state, service);
    let orphaned = orphaned(state, service);
    for (slot, node) in layout.into_iter().take(most) {
        let follows = orphaned.contains(&slot);
        let made = slot::make(
            draft,
            service,
            slot,
            DesiredState::Running,
            None,
            node.as_ref(),
        );
        // While an update is paused, nothing more begins with the version that it stopped at.
        let version = match service.rollout.previous {
            Some(previous) if service.rollout.is_paused() => previous,
            _ => service.version,
        };
        if follows || version != made.version {
            draft.set_task(Task {
                version,
                // It takes the place of one that was up.
                waits_for: if follows {
                    WaitsFor::WhatComes
                } else {
                    made.waits_for
                },
                ..made
            });
        }
    }
}

/// The slots that have a container. What becomes of one that was run again, its last run says.
fn taken(state: &State, service: &Service) -> BTreeSet<u32> {
    let mut last: BTreeMap<&ContainerId, &Task> = BTreeMap::new();
    for task in state.service_tasks(&service.id) {
        last.insert(&task.container, task);
    }
    let stays = last.into_values();
    let stays = stays.filter(|task| task.desired < DesiredState::Remove);
    stays.map(|task| task.slot).collect()
}

/// The slots that had a container which was lost with its node.
fn orphaned(state: &State, service: &Service) -> BTreeSet<u32> {
    let tasks = state.service_tasks(&service.id);
    let orphaned = tasks.filter(|task| task.status.state == TaskState::Orphaned);
    orphaned.map(|task| task.slot).collect()
}

/// How many more containers may be made now.
fn at_once(state: &State, service: &Service) -> usize {
    let ServiceMode::ReplicatedJob { concurrent, .. } = service.spec.mode else {
        return usize::MAX;
    };
    if concurrent == 0 {
        return usize::MAX;
    }
    let live = state.slots(&service.id).values();
    let live = live.filter(|task| !task.status.state.is_terminal()).count();
    usize::try_from(concurrent).map_or(usize::MAX, |most| most.saturating_sub(live))
}

/// What an earlier version of a job did does not count for this one.
fn drop_earlier_versions(draft: &mut Draft<'_>, service: &Service) {
    let earlier = draft.state().service_tasks(&service.id);
    let earlier = earlier.filter(|task| task.version != service.version);
    let earlier: Vec<Arc<Task>> = earlier.cloned().collect();
    for task in earlier {
        draft.desire(&task, DesiredState::Remove, Some(&service.stop));
    }
}

fn trim(draft: &mut Draft<'_>, service: &Service) {
    let state = draft.state();
    let layout = slot::layout(state, service);
    let surplus: Vec<Arc<Task>> = state
        .service_tasks(&service.id)
        .filter(|task| !layout.contains_key(&task.slot))
        .cloned()
        .collect();
    for task in surplus {
        draft.desire(&task, DesiredState::Remove, Some(&service.stop));
    }
}
