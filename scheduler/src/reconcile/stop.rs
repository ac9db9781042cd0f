//! Ends what a person has stopped or removed: dependents first, then what they depend on.
//!
//!     down:   web ends ─► api ends ─► db ends
//!
//! Each service is ended when no dependent that is to end as well is still alive. One that keeps
//! running is not waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::slot;
use crate::dependency::{self, DependencyGraph};
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task, TaskState};
use crate::state::{Change, Draft, State, is_on_node};

pub(super) fn pass(draft: &mut Draft<'_>) {
    let state = draft.state();
    let ending: Vec<Arc<Service>> = state
        .restless_services()
        .filter(|service| service.removal.is_some() || !service.halted.is_empty())
        .cloned()
        .collect();
    if ending.is_empty() {
        return;
    }
    let mut dependents = Dependents::default();
    for service in ending {
        let waits = dependents
            .of(draft.state(), &service)
            .iter()
            .any(|dependent| {
                draft
                    .state()
                    .service_tasks(&dependent.id)
                    .any(|task| is_ending(dependent, task) && is_running(task))
            });
        let tasks: Vec<Arc<Task>> = draft.state().service_tasks(&service.id).cloned().collect();
        for task in tasks {
            if must_end(&service, &task) && !(waits && is_running(&task)) {
                end(draft, &service, &task);
            }
        }
    }
}

fn end(draft: &mut Draft<'_>, service: &Service, task: &Task) {
    if !is_on_node(task) {
        // No node knows of this run, so nobody will say that it is gone.
        draft.push(Change::RemoveTask(task.id.clone()));
        return;
    }
    match &service.removal {
        Some(order) => draft.desire(task, DesiredState::Remove, Some(order)),
        None => draft.desire(task, DesiredState::Shutdown, Some(&service.stop)),
    }
}

/// What was made to be started later is not ended by a stop: it has not begun.
fn must_end(service: &Service, task: &Task) -> bool {
    if service.removal.is_some() {
        return true;
    }
    service.halted.contains(&task.slot)
        && task.desired == DesiredState::Running
        && !task.status.state.is_terminal()
}

/// Whether it has been told to end, or will be.
fn is_ending(service: &Service, task: &Task) -> bool {
    service.removal.is_some() || service.halted.contains(&task.slot)
}

fn is_running(task: &Task) -> bool {
    slot::is_live(task)
        && (task.desired != DesiredState::Ready || task.status.state > TaskState::Ready)
}

/// The services that need another one, stack by stack.
#[derive(Default)]
struct Dependents {
    stacks: BTreeMap<String, BTreeMap<String, Vec<Arc<Service>>>>,
}

impl Dependents {
    fn of(&mut self, state: &State, service: &Service) -> &[Arc<Service>] {
        let Some(stack) = &service.stack else {
            return &[];
        };
        if !self.stacks.contains_key(stack) {
            self.stacks.insert(stack.clone(), Self::read(state, stack));
        }
        let found = self
            .stacks
            .get(stack)
            .and_then(|stack| stack.get(&service.spec.name));
        found.map_or(&[], Vec::as_slice)
    }

    /// Services that wait for each other in a circle (from deployments of parts) wait for nothing.
    fn read(state: &State, stack: &str) -> BTreeMap<String, Vec<Arc<Service>>> {
        let mut found: BTreeMap<String, Vec<Arc<Service>>> = BTreeMap::new();
        let specs = state.stack_services(stack).map(|service| &*service.spec);
        if DependencyGraph::new(specs).order_up().is_err() {
            return found;
        }
        for service in state.services.values() {
            if service.stack.as_deref() != Some(stack) {
                continue;
            }
            for need in dependency::needs(&service.spec) {
                if service.is_standalone() || need != service.spec.name {
                    found
                        .entry(need.to_owned())
                        .or_default()
                        .push(service.clone());
                }
            }
        }
        found
    }
}
