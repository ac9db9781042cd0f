//! Holds tasks back while the conditions of `depends_on` do not hold, and says why.
//!
//! Only the beginning of a run is gated: a dependency that goes down later stops nobody. What its
//! policy runs again waits as well, so that a host that has booted brings its stacks up in order, but
//! only for what is coming up itself. A task that is held back has no address yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{restart, slot};
use crate::dependency;
use crate::model::id::ServiceId;
use crate::model::service::{Dependency, DependencyCondition, Service};
use crate::model::task::{DesiredState, Health, HealthStatus, Task, TaskState, WaitsFor};
use crate::state::{Draft, State, is_on_node};

/// A failure is looked for along this many dependencies in a row.
const DEEPEST: usize = 16;

/// Whether a service's containers may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Not yet; the reason is for people.
    Waiting(String),
    /// Not until a person does something: a dependency has failed.
    Failed(String),
}

/// Explains the tasks that are held back, and returns those that are not and have no place yet.
pub(super) fn pass(draft: &mut Draft<'_>) -> Vec<Arc<Task>> {
    let state = draft.state();
    let tasks = state.restless_services();
    let tasks = tasks.flat_map(|service| state.service_tasks(&service.id));
    let mut waiting: Vec<Arc<Task>> = tasks
        .filter(|task| task.status.state < TaskState::Assigned)
        .filter(|task| task.desired <= DesiredState::Running)
        .cloned()
        .collect();
    waiting.sort_by(|one, other| one.id.cmp(&other.id));
    let mut gates: BTreeMap<ServiceId, Gate> = BTreeMap::new();
    let mut open = Vec::new();
    for task in waiting {
        if let Some(reason) = held_by_itself(draft.state(), &task) {
            draft.explain(&task, reason);
            continue;
        }
        let Some(service) = draft.state().service_of(&task).cloned() else {
            continue;
        };
        if is_exempt(&service, &task) {
            open.push(task.clone());
            continue;
        }
        let gate = gates
            .entry(service.id.clone())
            .or_insert_with(|| gate(draft.state(), &service));
        match gate {
            Gate::Open => open.push(task.clone()),
            Gate::Failed(_) if task.waits_for == WaitsFor::WhatComes => open.push(task.clone()),
            Gate::Waiting(reason) | Gate::Failed(reason) => draft.explain(&task, reason.clone()),
        }
    }
    open
}

/// A container runs once at a time.
fn held_by_itself(state: &State, task: &Task) -> Option<&'static str> {
    // With one container in each slot there was no run before.
    if state.slots(&task.service).len() == state.tasks_of(&task.service).len() {
        return None;
    }
    let busy = state
        .container_tasks(&task.container)
        .any(|run| run.id < task.id && is_on_node(run) && slot::is_live(run));
    busy.then_some("waiting for the run before to end")
}

/// What is only made, not started, waits for nobody.
fn is_exempt(service: &Service, task: &Task) -> bool {
    task.waits_for == WaitsFor::Nothing || service.halted.contains(&task.slot)
}

/// What the dependencies of a service say together: the worst of them.
pub fn gate(state: &State, service: &Service) -> Gate {
    look(state, service, DEEPEST)
}

/// Looks at the dependencies, and at theirs while `depth` lasts.
fn look(state: &State, service: &Service, depth: usize) -> Gate {
    let Some(stack) = &service.stack else {
        return Gate::Open;
    };
    let mut waiting = None;
    for (name, dependency) in conditions(service) {
        match one(state, stack, name, dependency, depth) {
            Gate::Open => {}
            // One that is not required is waited for as long as it may still come.
            Gate::Failed(_) if !dependency.required => {}
            Gate::Failed(reason) => return Gate::Failed(reason),
            Gate::Waiting(reason) => {
                waiting.get_or_insert(reason);
            }
        }
    }
    waiting.map_or(Gate::Open, Gate::Waiting)
}

/// `depends_on`, and what the sharing of namespaces implies.
fn conditions(service: &Service) -> BTreeMap<&str, Dependency> {
    let implied = Dependency {
        condition: DependencyCondition::ServiceStarted,
        restart: false,
        required: true,
    };
    let joined = dependency::joined(&service.spec).into_iter();
    let mut all: BTreeMap<&str, Dependency> = joined.map(|(_, name)| (name, implied)).collect();
    let written = &service.spec.depends_on;
    all.extend(written.iter().map(|(name, it)| (name.as_str(), *it)));
    all
}

fn one(state: &State, stack: &str, name: &str, dependency: Dependency, depth: usize) -> Gate {
    let service = state.service_named(stack, name);
    let Some(service) = service.filter(|service| service.removal.is_none()) else {
        return Gate::Failed(format!("dependency {name} is not deployed"));
    };
    let slots = state.slots(&service.id);
    for slot in slot::layout(state, service).into_keys() {
        let task = slots
            .get(&slot)
            .filter(|task| task.version == service.version && task.desired != DesiredState::Remove);
        let gate = match task {
            None if service.halted.contains(&slot) => stopped(name),
            None => Gate::Waiting(words(name, dependency.condition)),
            Some(task) => of_task(state, service, task, dependency.condition, depth),
        };
        if gate != Gate::Open {
            return gate;
        }
    }
    Gate::Open
}

fn of_task(
    state: &State,
    service: &Service,
    task: &Task,
    condition: DependencyCondition,
    depth: usize,
) -> Gate {
    let name = &service.spec.name;
    let ended = restart::is_final(state, task);
    let halted = service.halted.contains(&task.slot);
    match condition {
        DependencyCondition::ServiceStarted if slot::has_run(task) && !(ended && halted) => {
            return Gate::Open;
        }
        DependencyCondition::ServiceHealthy
            if task.status.state == TaskState::Running && task.condemned.is_none() =>
        {
            return of_health(name, task.status.health.as_deref());
        }
        DependencyCondition::ServiceCompletedSuccessfully
            if task.status.state == TaskState::Complete =>
        {
            return Gate::Open;
        }
        DependencyCondition::ServiceStarted
        | DependencyCondition::ServiceHealthy
        | DependencyCondition::ServiceCompletedSuccessfully => {}
    }
    if halted {
        return stopped(name);
    }
    if ended {
        return Gate::Failed(format!("dependency {name} failed: {}", task.status.reason));
    }
    let words = words(name, condition);
    if depth == 0 {
        return Gate::Waiting(words);
    }
    match look(state, service, depth - 1) {
        // The dependency is held back itself, for ever.
        Gate::Failed(reason) if !slot::has_run(task) => Gate::Failed(reason),
        Gate::Failed(_) | Gate::Waiting(_) | Gate::Open => Gate::Waiting(words),
    }
}

fn of_health(name: &str, health: Option<&Health>) -> Gate {
    let Some(health) = health else {
        return Gate::Failed(format!(
            "dependency {name} cannot become healthy: it has no health check"
        ));
    };
    let detail = health
        .failures()
        .map_or_else(String::new, |failures| format!(" ({failures})"));
    match health.status {
        HealthStatus::Healthy => Gate::Open,
        HealthStatus::Unhealthy => Gate::Failed(format!("dependency {name} is unhealthy{detail}")),
        HealthStatus::Starting => {
            Gate::Waiting(format!("waiting for {name} to be healthy{detail}"))
        }
    }
}

fn stopped(name: &str) -> Gate {
    Gate::Failed(format!("dependency {name} is stopped"))
}

fn words(name: &str, condition: DependencyCondition) -> String {
    match condition {
        DependencyCondition::ServiceStarted => format!("waiting for {name} to start"),
        DependencyCondition::ServiceHealthy => format!("waiting for {name} to be healthy"),
        DependencyCondition::ServiceCompletedSuccessfully => {
            format!("waiting for {name} to complete")
        }
    }
}
