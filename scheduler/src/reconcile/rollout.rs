//! Moves a service from its old version to its new one, a few slots at a time.
//!
//!     stop-first:   new is prepared ─► old is stopped ─► new is started
//!     start-first:  new is started  ─► new has served for `monitor` ─► old is stopped
//!     next slot:    when all that are under way have served for `monitor`, and `delay` after that
//!
//! The old container keeps running until the new one has its image and its files, so that a
//! mistake in the file costs nothing and the gap is as long as a stop and a start. Keeps nothing
//! between calls: what has been done is read off the tasks (see [`slots`]). Only the verdict, such
//! as that an update is paused, is written down (see [`verdict`]).

mod progress;
mod slots;
mod verdict;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::progress::{Progress, progress};
use self::slots::{Pace, Slot, Standing};
use self::verdict::Verdict;
use super::gate::{self, Gate};
use super::memory::Memory;
use super::place::{self, Displaced, Objection};
use super::slot;
use crate::model::container::NetworkMode;
use crate::model::id::ContainerId;
use crate::model::service::{Service, UpdateOrder};
use crate::model::task::{DesiredState, Task, TaskState, WaitsFor};
use crate::model::time::Timestamp;
use crate::state::{Change, Draft, State, is_on_node};

/// Takes every service that is on its way a step further. Returns when the next step is due, where
/// one waits for time to pass.
pub(super) fn pass(draft: &mut Draft<'_>, memory: &mut Memory) -> Option<Timestamp> {
    let services = moving(draft.state(), memory, draft.now);
    let wakes = services.iter().filter_map(|service| step(draft, service));
    wakes.min()
}

fn moving(state: &State, memory: &mut Memory, now: Timestamp) -> Vec<Arc<Service>> {
    memory.look_around(state, now);
    let mut ids = place::perhaps_displaced(state, memory);
    ids.extend(state.restless_services().map(|service| &service.id));
    let services = ids.into_iter().filter_map(|id| state.services.get(id));
    let services = services.filter(|service| service.removal.is_none());
    let mut moving = Vec::new();
    for service in services {
        if is_moving(state, service) {
            moving.push(service.clone());
        } else if !service.spec.placement.constraints.is_empty() {
            memory.set_suited(state, service);
        }
    }
    moving
}

/// Writes down what has become of the updates that are under way. Comes after all that may still
/// help a container on: what has no node now can have none. Returns when time alone will change
/// a verdict.
pub(super) fn judge(draft: &mut Draft<'_>, memory: &mut Memory) -> Option<Timestamp> {
    memory.look_around(draft.state(), draft.now);
    let services: Vec<Arc<Service>> = draft
        .state()
        .unfinished_services()
        .filter(|service| service.removal.is_none())
        .filter(|service| !service.is_standalone() && !service.is_job())
        .cloned()
        .collect();
    let mut wake = None;
    for service in services {
        let state = draft.state();
        let again_at = match memory.open(state, &service, draft.now) {
            Some(until) => Some(until),
            None => {
                let slots = slots::of(state, &service, Pace::Going);
                match verdict::of(state, &service, &slots, draft.now) {
                    Verdict::Open { again_at } => {
                        // Without a time, one that has passed may be what was waited for.
                        if let Some(until) = again_at.filter(|_| state.is_at_rest(&service.id)) {
                            memory.set_open(state, &service, until);
                        }
                        again_at
                    }
                    verdict @ (Verdict::Good { .. } | Verdict::Failed { .. }) => {
                        if let Some(changed) = verdict::write(&service, verdict, draft.now) {
                            draft.push(Change::SetService(Arc::new(changed)));
                        }
                        None
                    }
                }
            }
        };
        wake = [wake, again_at].into_iter().flatten().min();
    }
    wake
}

/// Whether the service has anything but settled containers of its current version.
fn is_moving(state: &State, service: &Service) -> bool {
    let displaced = Displaced::of(state, service);
    let mut slots: BTreeMap<u32, &ContainerId> = BTreeMap::new();
    state.service_tasks(&service.id).any(|task| {
        let stays = task.desired <= DesiredState::Running;
        stays && displaced.objection(task).is_some()
            || task.version != service.version && task.desired != DesiredState::Remove
            || task.desired == DesiredState::Ready && !service.halted.contains(&task.slot)
            // One took the place of the other, which may have no reason to leave any more.
            || stays
                && slot::is_live(task)
                && *slots.entry(task.slot).or_insert(&task.container) != &task.container
    })
}

fn step(draft: &mut Draft<'_>, service: &Arc<Service>) -> Option<Timestamp> {
    let mut slots = slots::of(draft.state(), service, Pace::Going);
    let verdict = verdict::of(draft.state(), service, &slots, draft.now);
    let held = service.rollout.is_paused() || matches!(verdict, Verdict::Failed { .. });
    let pace = if held { Pace::Held } else { Pace::Going };
    if pace == Pace::Held {
        slots = slots::of(draft.state(), service, pace);
    }
    let mut room = room(draft.state(), service, &slots, draft.now);
    for slot in &slots {
        advance(draft, service, slot, pace, &mut room);
    }
    begin(draft, service, &slots, pace)
}

/// Takes a slot that has been begun one step further.
/// How many more slots may be left empty until their next container serves. [`begin`] makes no more
/// of those than that, but fewer may be allowed since.
fn room(state: &State, service: &Service, slots: &[Slot], now: Timestamp) -> u32 {
    let parallelism = service.update_config().parallelism;
    if parallelism == 0 {
        return u32::MAX;
    }
    let is_empty = |slot: &&Slot| {
        let under_way = matches!(
            slots::standing(state, service, slot, now),
            Standing::UnderWay { .. } | Standing::Proving { .. }
        );
        under_way && !slot.still_serves()
    };
    let empty = u32::try_from(slots.iter().filter(is_empty).count());
    parallelism.saturating_sub(empty.unwrap_or(u32::MAX))
}

fn advance(draft: &mut Draft<'_>, service: &Service, slot: &Slot, pace: Pace, room: &mut u32) {
    let Some(new) = &slot.new else {
        return one_is_enough(draft, service, slot);
    };
    // After a rollback the newer ones have to go, as soon as nobody needs them.
    for task in &slot.newer {
        if slot::is_serving(new) || !slot::is_serving(task) {
            draft.desire(task, DesiredState::Remove, Some(&service.stop));
        }
    }
    // Of several earlier ones, from updates that followed each other closely, one is enough.
    if let Some(best) = best(&slot.old) {
        let others = slot.old.iter().filter(|task| task.id != best.id);
        stop(draft, service, &others.cloned().collect::<Vec<_>>());
    }
    // Who must leave does not stay because there is no other place: stopped first is stopped.
    let unplaced = new.status.state == TaskState::Pending && new.node.is_none();
    if unplaced && order(service) == UpdateOrder::StopFirst {
        let displaced = Displaced::of(draft.state(), service);
        let drained = |task: &&Arc<Task>| displaced.objection(task) == Some(Objection::Drained);
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
        } else if new.status.state == TaskState::Ready && !slot.is_held(pace) {
            match order(service) {
                UpdateOrder::StopFirst if !slot.still_serves() => stop(draft, service, &slot.old),
                UpdateOrder::StopFirst if *room > 0 => {
                    *room -= 1;
                    stop(draft, service, &slot.old);
                }
                UpdateOrder::StopFirst => {}
                // Since it was made, by a deployment after it.
                UpdateOrder::StartFirst => draft.desire(new, DesiredState::Running, None),
            }
        }
        return;
    }
    // What ends soon after its start, as most mistakes do, must not have cost the old one.
    let proven = order(service) == UpdateOrder::StopFirst
        || slots::proven_at(draft.state(), service, new, draft.now) <= draft.now
        || !slot.is_serving();
    if slot::is_serving(new) && proven {
        stop(draft, service, &slot.old);
    }
}

/// Of the containers of a slot whose turn has yet to come: a deployment has overtaken the update
/// that made the other one.
fn one_is_enough(draft: &mut Draft<'_>, service: &Service, slot: &Slot) {
    let Some(best) = best(&slot.old) else {
        return;
    };
    for task in slot.old.iter().filter(|it| it.container != best.container) {
        // Not only stopped: as the last one of its slot it would be run again.
        draft.desire(task, DesiredState::Remove, Some(&service.stop));
    }
}

/// The one that is kept: it serves, and has done so for the longest.
fn best(old: &[Arc<Task>]) -> Option<&Arc<Task>> {
    old.iter().max_by_key(|task| {
        let stays = task.desired <= DesiredState::Running;
        (stays, slot::is_serving(task), Reverse(&task.id))
    })
}

fn stop(draft: &mut Draft<'_>, service: &Service, old: &[Arc<Task>]) {
    for task in old {
        draft.desire(task, DesiredState::Shutdown, Some(&service.stop));
    }
}

/// Begins as many slots as may be under way at once: first those that have nothing to lose.
fn begin(
    draft: &mut Draft<'_>,
    service: &Service,
    slots: &[Slot],
    pace: Pace,
) -> Option<Timestamp> {
    let update = service.update_config();
    let gated = update.parallelism > 0;
    let mut under_way = 0;
    let mut delayed = None;
    let mut proven: Option<Timestamp> = None;
    for slot in slots {
        match slots::standing(draft.state(), service, slot, draft.now) {
            Standing::NotBegun | Standing::Failed(_) => {}
            Standing::UnderWay { .. } => under_way += 1,
            Standing::Proving { until } => {
                under_way += 1;
                proven = [proven, Some(until)].into_iter().flatten().min();
            }
            Standing::Good { since } => delayed = delayed.max(Some(since.plus(update.delay))),
        }
    }
    let waiting = slots.iter().filter(|slot| slot.new.is_none());
    let mut waiting: Vec<&Slot> = waiting
        .filter(|slot| pace == Pace::Going || slot.displaced.is_some())
        .collect();
    if waiting.is_empty() {
        return proven;
    }
    if gated && let Some(at) = delayed.filter(|at| *at > draft.now) {
        return Some(proven.map_or(at, |proven| proven.min(at)));
    }
    let free = if gated {
        update.parallelism.saturating_sub(under_way)
    } else {
        u32::MAX
    };
    waiting.sort_by_key(|slot| (slot.is_serving(), slot.number));
    for slot in waiting
        .into_iter()
        .take(usize::try_from(free).unwrap_or(usize::MAX))
    {
        replace(draft, service, slot);
    }
    proven
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
    let mut made = slot::make(draft, service, slot.number, desired, replaces, node);
    if slot.displaced.is_some() {
        // It comes up where the others are up already, as what it was.
        made.waits_for = WaitsFor::Nothing;
        made.replaces = None;
        made.version = slot.version;
        draft.set_task(made);
    }
}

/// Two containers cannot have the same port of the host, or the same address, at once.
fn order(service: &Service) -> UpdateOrder {
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
    service.update_config().order
}
