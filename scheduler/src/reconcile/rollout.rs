//! Moves a service from its old version to its new one, a few slots at a time.
//!
//!     stop-first:   new is prepared ─► old is stopped ─► new is started
//!     start-first:  new is started  ─► new serves     ─► old is stopped
//!
//! The old container keeps running until the new one has its image and its files, so that a
//! mistake in the file costs nothing and the gap is as long as a stop and a start. Keeps nothing
//! between calls: what has been done is read off the tasks. Only the verdict, that an update is
//! paused, is written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gate::{self, Gate};
use super::place::{self, Objection};
use super::slot;
use crate::model::container::NetworkMode;
use crate::model::service::{FailureAction, Rollout, Service, UpdateOrder};
use crate::model::task::{DesiredState, Task, TaskState, WaitsFor};
use crate::model::time::Timestamp;
use crate::state::{Change, Draft, State, is_on_node};

/// One slot on its way to the current version.
struct Slot {
    number: u32,
    /// The last container of the current version.
    new: Option<Arc<Task>>,
    /// Earlier ones that still live, or have been placed and may.
    old: Vec<Arc<Task>>,
    /// The last one before, alive or not.
    predecessor: Option<Arc<Task>>,
    /// The container, though of the current version, must leave its node.
    displaced: Option<Objection>,
}

/// Returns when the next step is due, where one waits for time to pass.
pub(super) fn pass(draft: &mut Draft<'_>) -> Option<Timestamp> {
    let services: Vec<Arc<Service>> = draft
        .state()
        .services
        .values()
        .filter(|service| service.removal.is_none())
        .filter(|service| is_moving(draft.state(), service))
        .cloned()
        .collect();
    let wakes = services.iter().filter_map(|service| step(draft, service));
    wakes.min()
}

/// Whether the service has anything but settled containers of its current version.
fn is_moving(state: &State, service: &Service) -> bool {
    state.service_tasks(&service.id).any(|task| {
        task.desired <= DesiredState::Running && place::displaced(state, service, task).is_some()
            || task.version != service.version && task.desired != DesiredState::Remove
            || task.desired == DesiredState::Ready && !service.halted.contains(&task.slot)
    })
}

fn step(draft: &mut Draft<'_>, service: &Arc<Service>) -> Option<Timestamp> {
    let slots = slots(draft.state(), service);
    for slot in &slots {
        advance(draft, service, slot);
    }
    if service.rollout == Rollout::Going
        && let Some(reason) = failure(service, &slots)
    {
        pause(draft, service, reason);
        return None;
    }
    begin(draft, service, &slots)
}

/// The slots that should run, each with its containers.
fn slots(state: &State, service: &Service) -> Vec<Slot> {
    let mut tasks: BTreeMap<u32, Vec<Arc<Task>>> = BTreeMap::new();
    for task in state.service_tasks(&service.id) {
        tasks.entry(task.slot).or_default().push(task.clone());
    }
    let active = slot::active(state, service);
    tasks.retain(|number, _| active.contains(number));
    let slot = |(number, tasks): (u32, Vec<Arc<Task>>)| {
        let kept = |task: &&Arc<Task>| task.desired != DesiredState::Remove;
        let last = tasks
            .iter()
            .rfind(|task| task.version == service.version && kept(task));
        let displaced = last.and_then(|task| place::displaced(state, service, task));
        let new = last.filter(|_| displaced.is_none());
        let before = |task: &&Arc<Task>| new.is_none_or(|new| task.container != new.container);
        Slot {
            number,
            new: new.cloned(),
            old: tasks
                .iter()
                .filter(before)
                .filter(|task| slot::is_live(task))
                .cloned()
                .collect(),
            predecessor: tasks
                .iter()
                .rfind(|task| before(task) && kept(task))
                .cloned(),
            displaced,
        }
    };
    tasks.into_iter().map(slot).collect()
}

/// Takes a slot that has been begun one step further.
fn advance(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let Some(new) = &slot.new else {
        return;
    };
    // Of several earlier ones, from updates that followed each other closely, one is enough.
    if let Some(best) = slot.old.iter().max_by_key(|task| slot::is_serving(task)) {
        let others = slot.old.iter().filter(|task| task.id != best.id);
        stop(draft, service, &others.cloned().collect::<Vec<_>>());
    }
    // Who must leave does not stay because there is no other place: stopped first is stopped.
    let unplaced = new.status.state == TaskState::Pending && new.node.is_none();
    if unplaced && order(service) == UpdateOrder::StopFirst {
        let drained = |task: &&Arc<Task>| {
            let objection = place::displaced(draft.state(), service, task);
            objection == Some(Objection::Drained)
        };
        let leaving: Vec<Arc<Task>> = slot.old.iter().filter(drained).cloned().collect();
        stop(draft, service, &leaving);
    }
    if new.desired == DesiredState::Ready {
        if slot.old.is_empty() {
            // A container that takes the place of another does not wait again: its slot is down.
            let first = slot.predecessor.is_none() && new.waits_for == WaitsFor::Dependencies;
            if first && gate::gate(draft.state(), service) != Gate::Open {
                return;
            }
            draft.desire(new, DesiredState::Running, None);
        } else if new.status.state == TaskState::Ready {
            stop(draft, service, &slot.old);
        }
        return;
    }
    if slot::is_serving(new) {
        stop(draft, service, &slot.old);
    }
}

fn stop(draft: &mut Draft<'_>, service: &Service, old: &[Arc<Task>]) {
    for task in old {
        draft.desire(task, DesiredState::Shutdown, Some(&service.stop));
    }
}

/// Begins as many slots as may be under way at once.
fn begin(draft: &mut Draft<'_>, service: &Service, slots: &[Slot]) -> Option<Timestamp> {
    let update = &service.spec.update;
    let gated = update.parallelism > 0;
    let mut wake = None;
    let mut under_way = 0;
    let mut delayed = None;
    for slot in slots {
        match settled_at(service, slot) {
            Settled::NotBegun => {}
            Settled::Never if slot.new.as_ref().is_some_and(|new| has_failed(new)) => {}
            Settled::Never => under_way += 1,
            Settled::At(time) if time > draft.now => {
                under_way += 1;
                wake = Some(wake.map_or(time, |wake: Timestamp| wake.min(time)));
            }
            Settled::At(time) => delayed = delayed.max(Some(time.plus(update.delay))),
        }
    }
    let going = service.rollout == Rollout::Going;
    let waiting = slots.iter().filter(|slot| slot.new.is_none());
    let waiting = waiting.filter(|slot| going || slot.displaced.is_some());
    let waiting: Vec<&Slot> = waiting.collect();
    if waiting.is_empty() {
        return None;
    }
    if gated && let Some(at) = delayed.filter(|at| *at > draft.now) {
        return Some(wake.map_or(at, |wake| wake.max(at)));
    }
    let free = if gated {
        update.parallelism.saturating_sub(under_way)
    } else {
        u32::MAX
    };
    for slot in waiting
        .into_iter()
        .take(usize::try_from(free).unwrap_or(usize::MAX))
    {
        replace(draft, service, slot);
    }
    wake.filter(|_| gated)
}

enum Settled {
    NotBegun,
    Never,
    /// It has served, or will have served, for the whole of the monitored time.
    At(Timestamp),
}

fn settled_at(service: &Service, slot: &Slot) -> Settled {
    let Some(new) = &slot.new else {
        return Settled::NotBegun;
    };
    let started = new.status.started_at.unwrap_or(new.status.at);
    if new.status.state == TaskState::Complete {
        return Settled::At(new.status.at);
    }
    if !slot.old.is_empty() || !slot::is_serving(new) {
        return Settled::Never;
    }
    // A slot that was never of another version has nothing to prove.
    if slot.predecessor.is_none() && new.replaces.is_none() {
        return Settled::At(started);
    }
    Settled::At(started.plus(service.spec.update.monitor))
}

fn replace(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let Some(predecessor) = &slot.predecessor else {
        // Empty slots are filled by another pass.
        return;
    };
    if !is_on_node(predecessor) {
        draft.push(Change::RemoveTask(predecessor.id.clone()));
    }
    let at_once = slot.old.is_empty() || order(service) == UpdateOrder::StartFirst;
    let desired = if at_once {
        DesiredState::Running
    } else {
        DesiredState::Ready
    };
    let replaces = is_on_node(predecessor).then_some(&**predecessor);
    let node = predecessor
        .node
        .as_ref()
        .filter(|_| service.is_on_each_node());
    let made = slot::make(draft, service, slot.number, desired, replaces, node);
    if slot.displaced.is_some() {
        // It comes up where the others are up already.
        draft.set_task(Task {
            waits_for: WaitsFor::Nothing,
            replaces: None,
            ..made
        });
    }
}

/// Two containers cannot have the same port of the host, or the same address, at once.
pub(super) fn order(service: &Service) -> UpdateOrder {
    let container = &service.spec.container;
    let shared = service.shares_ports();
    let fixed_port = container.ports.iter().any(|port| {
        let fixed = port.published.is_some_and(|(first, last)| first == last);
        fixed && !(shared && port.is_shareable())
    });
    let fixed_address = match &container.network {
        NetworkMode::Attached(list) => list
            .iter()
            .any(|it| it.ipv4_address.is_some() || it.mac_address.is_some()),
        NetworkMode::Host => true,
        NetworkMode::None | NetworkMode::Container(_) | NetworkMode::Service(_) => false,
    };
    if fixed_port || fixed_address || service.spec.container_name.is_some() {
        return UpdateOrder::StopFirst;
    }
    service.spec.update.order
}

/// Why the update must not go on: more new containers have failed than may.
fn failure(service: &Service, slots: &[Slot]) -> Option<String> {
    if service.spec.update.failure_action == FailureAction::Continue {
        return None;
    }
    // Where nothing of the old version is left there is nothing to go back to, nor to go on with.
    let earlier = |slot: &Slot| slot.predecessor.as_ref().map(|it| it.version);
    if !slots
        .iter()
        .any(|slot| earlier(slot).is_some_and(|it| it != service.version))
    {
        return None;
    }
    let failed: Vec<&Slot> = slots
        .iter()
        .filter(|slot| slot.new.as_ref().is_some_and(|new| has_failed(new)))
        .collect();
    let first = failed.first()?;
    let ratio = failed.len() as f64 / slots.len().max(1) as f64;
    if ratio <= service.spec.update.max_failure_ratio {
        return None;
    }
    let reason = first
        .new
        .as_ref()
        .map_or("", |new| new.status.reason.as_str());
    // Said openly, so that nobody waits for it.
    let instead = match service.spec.update.failure_action {
        FailureAction::Rollback => " (paused instead: automatic rollback is not available yet)",
        FailureAction::Pause | FailureAction::Continue => "",
    };
    let number = first.number;
    Some(format!(
        "container {number} of the new version: {reason}{instead}"
    ))
}

fn has_failed(new: &Task) -> bool {
    let down = new.status.state != TaskState::Running;
    matches!(new.status.state, TaskState::Failed | TaskState::Rejected) || down && new.failures > 0
}

fn pause(draft: &mut Draft<'_>, service: &Service, reason: String) {
    let mut service = service.clone();
    service.rollout = Rollout::Paused { reason };
    draft.push(Change::SetService(Arc::new(service)));
}
