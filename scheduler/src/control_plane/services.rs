//! `down`, `stop`, `start`, `restart`, `kill`, `rm`, `scale`, `rollback`: services of a stack that is deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::{Dependents, Reply, RunningContainers, Volumes};
use super::deploy;
use super::refusal::Refusal;
use crate::dependency::DependencyGraph;
use crate::model::rollout::RolloutPhase;
use crate::model::service::{Service, ServiceMode};
use crate::model::stack::StackRemoval;
use crate::model::task::{DesiredState, StopOrder, Task, TaskState, WaitsFor};
use crate::reconcile::slot::{self, Cause};
use crate::state::{Change, Draft, State};

/// A stack that does not exist is down already.
pub(super) fn remove_stack(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
    volumes: Volumes,
    grace_seconds: Option<i64>,
) -> Result<Reply, Refusal> {
    let order = StopOrder {
        grace_seconds,
        remove_volumes: volumes == Volumes::Delete,
        ..StopOrder::default()
    };
    if !names.is_empty() {
        for service in find(draft.state(), stack, names)? {
            remove(draft, &service, order.clone());
        }
        return Ok(Reply::Done);
    }
    // Containers that `run` has made belong to the stack too.
    let all: Vec<Arc<Service>> = draft
        .state()
        .services
        .values()
        .filter(|service| service.stack.as_deref() == Some(stack))
        .cloned()
        .collect();
    for service in all {
        remove(draft, &service, order.clone());
    }
    if let Some(record) = draft.state().stacks.get(stack) {
        let mut record = (**record).clone();
        let removal = match volumes {
            Volumes::Keep => StackRemoval::KeepVolumes,
            Volumes::Delete => StackRemoval::DeleteVolumes,
        };
        if record.removal != Some(removal) {
            record.removal = Some(removal);
            record.updated_at = draft.now;
            draft.push(Change::SetStack(Arc::new(record)));
        }
    } else {
        // `run` brings networks without a deployment.
        remove_networks(draft, stack);
        if volumes == Volumes::Delete {
            remove_kept_volumes(draft, stack);
        }
    }
    Ok(Reply::Done)
}

/// Networks of a stack that has no record; each goes with its last container.
fn remove_networks(draft: &mut Draft<'_>, stack: &str) {
    let left: Vec<_> = (draft.state().networks.values())
        .filter(|network| network.stack.as_deref() == Some(stack) && !network.removing)
        .cloned()
        .collect();
    for network in left {
        let mut network = (*network).clone();
        network.removing = true;
        draft.push(Change::SetNetwork(Arc::new(network)));
    }
}

/// Volumes that an earlier `down` has left.
fn remove_kept_volumes(draft: &mut Draft<'_>, stack: &str) {
    let kept: Vec<_> = (draft.state().volumes.values())
        .filter(|volume| volume.stack.as_deref() == Some(stack) && !volume.removing)
        .cloned()
        .collect();
    for volume in kept {
        let mut volume = (*volume).clone();
        volume.removing = true;
        draft.push(Change::SetVolume(Arc::new(volume)));
    }
}

pub(super) fn remove(draft: &mut Draft<'_>, service: &Service, order: StopOrder) {
    update(draft, service, |service| service.removal = Some(order));
}

pub(super) fn stop(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
    signal: Option<String>,
    grace_seconds: Option<i64>,
) -> Result<Reply, Refusal> {
    let order = StopOrder {
        signal,
        grace_seconds,
        remove_volumes: false,
    };
    for service in find(draft.state(), stack, names)? {
        halt(draft, &service, &order);
    }
    Ok(Reply::Done)
}

fn halt(draft: &mut Draft<'_>, service: &Service, order: &StopOrder) {
    let slots: BTreeSet<u32> = slot::layout(draft.state(), service).into_keys().collect();
    update(draft, service, |service| {
        if !slots.is_subset(&service.halted) {
            service.stop = order.clone();
        }
        service.halted.extend(&slots);
    });
}

/// Ends all at once, also what is being stopped already.
pub(super) fn kill(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
    signal: String,
) -> Result<Reply, Refusal> {
    if !ends(&signal) {
        return Err(Refusal::NotAnEndingSignal { signal });
    }
    let order = StopOrder {
        signal: Some(signal),
        grace_seconds: Some(-1),
        remove_volumes: false,
    };
    for service in find(draft.state(), stack, names)? {
        halt(draft, &service, &order);
        for task in tasks(draft.state(), &service) {
            if slot::is_live(&task) && task.desired != DesiredState::Ready {
                let desired = task.desired.max(DesiredState::Shutdown);
                draft.push(Change::Desire(
                    task.id.clone(),
                    desired,
                    Some(order.clone()),
                ));
            }
        }
    }
    Ok(Reply::Done)
}

/// Signals that end a program which does nothing about them, and are sent to that end.
fn ends(signal: &str) -> bool {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    matches!(
        name,
        "KILL" | "TERM" | "INT" | "QUIT" | "ABRT" | "9" | "15" | "2" | "3" | "6"
    )
}

/// Starts what is stopped, and what that depends on.
pub(super) fn start(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
) -> Result<Reply, Refusal> {
    let chosen = find(draft.state(), stack, names)?;
    let specs = draft
        .state()
        .stack_services(stack)
        .map(|service| &*service.spec);
    let graph = DependencyGraph::new(specs);
    let all = graph.closure(chosen.iter().map(|service| service.spec.name.as_str()));
    let services: Vec<Arc<Service>> = draft
        .state()
        .stack_services(stack)
        .filter(|service| all.contains(&service.spec.name))
        .cloned()
        .collect();
    for service in services {
        let named = chosen.iter().any(|chosen| chosen.id == service.id);
        let existing: BTreeSet<u32> = tasks(draft.state(), &service)
            .iter()
            .filter(|task| task.desired != DesiredState::Remove)
            .map(|task| task.slot)
            .collect();
        update(draft, &service, |service| {
            service.halted.retain(|slot| !existing.contains(slot));
        });
        let what = if named {
            Revive::WhatEnded
        } else {
            Revive::WhatFailed
        };
        revive(draft, &service, what);
    }
    Ok(Reply::Done)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Revive {
    /// Not what has done its work.
    WhatFailed,
    WhatEnded,
}

/// Runs the ended containers of a service's current version once more.
pub(super) fn revive(draft: &mut Draft<'_>, service: &Service, what: Revive) {
    let ended: Vec<Arc<Task>> = draft
        .state()
        .slots(&service.id)
        .values()
        .filter(|task| task.status.state.is_terminal() && task.desired != DesiredState::Remove)
        .filter(|task| task.version == service.version)
        .filter(|task| {
            let again = what == Revive::WhatEnded && service.spec.pre_start_of.is_none();
            task.status.state != TaskState::Complete || again
        })
        .cloned()
        .collect();
    for task in ended {
        again(draft, &task, WaitsFor::Dependencies, "started by a person");
    }
}

/// While the container that it replaces still runs, a new one is only prepared.
fn again(draft: &mut Draft<'_>, task: &Task, waits_for: WaitsFor, reason: &str) {
    let old = draft.state().service_tasks(&task.service).any(|other| {
        other.slot == task.slot && other.container != task.container && slot::is_live(other)
    });
    let desired = if old {
        DesiredState::Ready
    } else {
        DesiredState::Running
    };
    slot::rerun(draft, task, desired, Cause::Person(waits_for), reason);
}

pub(super) fn restart(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
    grace_seconds: Option<i64>,
    dependents: Dependents,
) -> Result<Reply, Refusal> {
    let order = StopOrder {
        grace_seconds,
        ..StopOrder::default()
    };
    let mut services = find(draft.state(), stack, names)?;
    services.retain(|service| service.spec.pre_start_of.is_none());
    let done: BTreeSet<String> = services.iter().map(|it| it.spec.name.clone()).collect();
    for service in services {
        restart_service(draft, &service, &order, WaitsFor::Nothing);
    }
    if dependents == Dependents::Restart {
        restart_dependents(draft, stack, &done, &done);
    }
    Ok(Reply::Done)
}

fn restart_service(
    draft: &mut Draft<'_>,
    service: &Service,
    order: &StopOrder,
    waits_for: WaitsFor,
) {
    let slots: Vec<Arc<Task>> = draft.state().slots(&service.id).values().cloned().collect();
    for task in slots {
        restart_task(draft, &task, order, waits_for);
    }
}

/// Ends the current run, if there is one, and adds the next.
pub(super) fn restart_task(
    draft: &mut Draft<'_>,
    task: &Task,
    order: &StopOrder,
    waits_for: WaitsFor,
) {
    if task.desired == DesiredState::Remove {
        return;
    }
    unhalt(draft, task);
    let unused = !task.status.state.is_terminal()
        && (task.desired == DesiredState::Ready || task.status.state < TaskState::Assigned);
    if unused {
        // It has not begun: it will, now that its slot is not halted.
        return;
    }
    draft.desire(task, DesiredState::Shutdown, Some(order));
    again(draft, task, waits_for, "restarted by a person");
}

/// Restarts services with `restart: true` on one of `restarted`, and those that follow them, unless
/// they are in `done`.
pub(super) fn restart_dependents(
    draft: &mut Draft<'_>,
    stack: &str,
    restarted: &BTreeSet<String>,
    done: &BTreeSet<String>,
) {
    let (mut restarted, mut done) = (restarted.clone(), done.clone());
    while !restarted.is_empty() {
        let services = followers(draft.state(), stack, &restarted, &done);
        restarted.clear();
        for service in services {
            restart_service(
                draft,
                &service,
                &StopOrder::default(),
                WaitsFor::Dependencies,
            );
            restarted.insert(service.spec.name.clone());
        }
        done.extend(restarted.iter().cloned());
    }
}

fn followers(
    state: &State,
    stack: &str,
    restarted: &BTreeSet<String>,
    done: &BTreeSet<String>,
) -> Vec<Arc<Service>> {
    let follows = |service: &&Arc<Service>| {
        let mut needs = service.spec.depends_on.iter();
        !done.contains(&service.spec.name)
            && service.removal.is_none()
            && !slot::active(state, service).is_empty()
            && needs.any(|(name, need)| need.restart && restarted.contains(name))
    };
    state
        .stack_services(stack)
        .filter(follows)
        .cloned()
        .collect()
}

pub(super) fn remove_stopped(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
    running: RunningContainers,
    volumes: Volumes,
) -> Result<Reply, Refusal> {
    for service in find(draft.state(), stack, names)? {
        for task in tasks(draft.state(), &service) {
            if !is_up(&task) || running != RunningContainers::Spare {
                remove_task(draft, &task, running, volumes);
            }
        }
    }
    Ok(Reply::Done)
}

/// Whether a person would say that it runs.
pub(super) fn is_up(task: &Task) -> bool {
    !task.status.state.is_terminal() && task.desired == DesiredState::Running
}

/// Removes a container, and leaves its slot empty until a person fills it.
pub(super) fn remove_task(
    draft: &mut Draft<'_>,
    task: &Task,
    running: RunningContainers,
    volumes: Volumes,
) {
    let kill = running == RunningContainers::Kill;
    let order = StopOrder {
        signal: kill.then(|| "SIGKILL".to_owned()),
        grace_seconds: kill.then_some(0),
        remove_volumes: volumes == Volumes::Delete,
    };
    if let Some(service) = draft.state().service_of(task).cloned() {
        update(draft, &service, |service| {
            service.halted.insert(task.slot);
        });
    }
    draft.push(Change::Desire(
        task.id.clone(),
        DesiredState::Remove,
        Some(order),
    ));
}

pub(super) fn scale(
    draft: &mut Draft<'_>,
    stack: &str,
    replicas: &BTreeMap<String, u32>,
) -> Result<Reply, Refusal> {
    let names: Vec<String> = replicas.keys().cloned().collect();
    for service in find(draft.state(), stack, &names)? {
        let Some(replicas) = replicas.get(&service.spec.name).copied() else {
            continue;
        };
        let mut spec = (*service.spec).clone();
        spec.mode = ServiceMode::Replicated { replicas };
        deploy::fixed_name_is_single(&spec)?;
        let spec = Arc::new(spec);
        update(draft, &service, |service| {
            service.spec = spec.clone();
            service.versions.insert(service.version, spec);
            service.keep_scale();
        });
    }
    Ok(Reply::Done)
}

/// Goes back to the version before the current one. A service that is on its way back goes on.
pub(super) fn roll_back(
    draft: &mut Draft<'_>,
    stack: &str,
    names: &[String],
) -> Result<Reply, Refusal> {
    for service in find(draft.state(), stack, names)? {
        let phase = service.rollout.phase;
        if phase == RolloutPhase::RollingBack {
            continue;
        }
        let reason = "asked for by a person".to_owned();
        let Some(back) = service.rolled_back(reason, draft.now) else {
            return Err(Refusal::NothingToRollBackTo {
                service: service.spec.name.clone(),
            });
        };
        draft.push(Change::SetService(Arc::new(back)));
    }
    Ok(Reply::Done)
}

fn tasks(state: &State, service: &Service) -> Vec<Arc<Task>> {
    state.service_tasks(&service.id).cloned().collect()
}

pub(super) fn unhalt(draft: &mut Draft<'_>, task: &Task) {
    if let Some(service) = draft.state().service_of(task).cloned() {
        update(draft, &service, |service| {
            service.halted.remove(&task.slot);
        });
    }
}

/// Writes a service's row as the draft has it by now with a change, if that changes anything.
pub(super) fn update(draft: &mut Draft<'_>, service: &Service, change: impl FnOnce(&mut Service)) {
    let Some(current) = draft.state().service(&service.id).cloned() else {
        return;
    };
    let mut changed = (*current).clone();
    change(&mut changed);
    if changed != *current {
        draft.push(Change::SetService(Arc::new(changed)));
    }
}

/// The services with these keys; all of the stack when there are none.
fn find(state: &State, stack: &str, names: &[String]) -> Result<Vec<Arc<Service>>, Refusal> {
    let mut known = state.stack_services(stack).peekable();
    if known.peek().is_none() && !state.stacks.contains_key(stack) {
        let stack = stack.to_owned();
        return Err(Refusal::UnknownStack { stack });
    }
    if names.is_empty() {
        return Ok(known.cloned().collect());
    }
    let known: Vec<&str> = known.map(|service| service.spec.name.as_str()).collect();
    let find = |name: &String| {
        let service = state.service_named(stack, name).cloned();
        service.ok_or_else(|| unknown(stack, name, known.iter().copied()))
    };
    names.iter().map(find).collect()
}

/// Names the most similar service, if one is similar enough to be meant.
pub(super) fn unknown<'a>(
    stack: &str,
    service: &str,
    known: impl Iterator<Item = &'a str>,
) -> Refusal {
    let distance = |name: &&str| strsim::damerau_levenshtein(name, service);
    let best = known.min_by_key(distance);
    // One slip in a short word, more in a long one.
    let near = |name: &&str| distance(name) <= 1 + service.len() / 5;
    Refusal::UnknownService {
        stack: stack.to_owned(),
        service: service.to_owned(),
        similar: best.filter(near).map(str::to_owned),
    }
}
