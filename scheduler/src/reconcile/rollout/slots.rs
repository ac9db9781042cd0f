//! What each slot of a service has come to, read off its containers.
//!
//!     slot 1:  old (version 3) ✔   new (version 4) ✔        Good, once it has proved itself
//!     slot 2:  old (version 3)     new (version 4) starting UnderWay
//!     slot 3:  old (version 3)                              NotBegun
//!     slot 4:  good (version 3)    newer (version 4)        back at version 3: the newer one goes

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::node::{Availability, NodeStatus};
use crate::model::rollout::RolloutPhase;
use crate::model::service::Service;
use crate::model::task::{DesiredState, HealthStatus, Task, TaskState, WaitsFor};
use crate::model::time::Timestamp;
use crate::reconcile::gate::{self, Gate};
use crate::reconcile::place::{Displaced, Objection};
use crate::reconcile::{restart, slot};
use crate::state::State;

/// A container that gets no further for so long, by one clock, counts as failed. Each state that it comes to
/// begins the time anew; a health check may take its `start_period` on top.
pub(super) const PROGRESS_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// An image of many gigabytes over a slow line is no mistake of the new version.
const FETCH_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Failures in a row after which nobody expects a container to come up by itself.
const ENOUGH: u32 = 5;

/// Whether slots of the version before are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Going,
    /// What has not been begun stays at its version, and moves only with its node.
    Held,
}

/// One slot on its way to the version that it should have.
pub(super) struct Slot {
    pub(super) number: u32,
    /// The version that it should have for now.
    pub(super) version: u64,
    /// The last container of that version.
    pub(super) new: Option<Arc<Task>>,
    /// Earlier ones that still live, or have been placed and may.
    pub(super) old: Vec<Arc<Task>>,
    /// Runs of later ones, which a rollback has made superfluous.
    pub(super) newer: Vec<Arc<Task>>,
    /// The last one before, alive or not.
    pub(super) predecessor: Option<Arc<Task>>,
    /// The container, though of the right version, must leave its node.
    pub(super) displaced: Option<Objection>,
}

impl Slot {
    /// Whether the new container must not take over now: the new version is not trusted.
    pub(super) fn is_held(&self, pace: Pace) -> bool {
        pace == Pace::Held && self.old.iter().any(|old| old.version != self.version)
    }

    /// Whether something earlier serves that nobody has told to end.
    pub(super) fn still_serves(&self) -> bool {
        let serves =
            |task: &Arc<Task>| task.desired == DesiredState::Running && slot::is_serving(task);
        self.old.iter().any(serves)
    }

    /// Whether something earlier serves.
    pub(super) fn is_serving(&self) -> bool {
        self.old.iter().any(|task| slot::is_serving(task))
    }
}

/// The slots that should run and have had a container, each with what is in it.
pub(super) fn of(state: &State, service: &Service, pace: Pace) -> Vec<Slot> {
    let mut tasks: BTreeMap<u32, Vec<Arc<Task>>> = BTreeMap::new();
    for task in state.service_tasks(&service.id) {
        tasks.entry(task.slot).or_default().push(task.clone());
    }
    let active = slot::active(state, service);
    tasks.retain(|number, _| active.contains(number));
    let displaced = Displaced::of(state, service);
    let slots = tasks.into_iter();
    slots
        .map(|(number, tasks)| read(&displaced, service, pace, number, &tasks))
        .collect()
}

fn read(
    displaced: &Displaced<'_>,
    service: &Service,
    pace: Pace,
    number: u32,
    tasks: &[Arc<Task>],
) -> Slot {
    let kept = |task: &&Arc<Task>| task.desired != DesiredState::Remove;
    let current = current(service, pace, tasks);
    let version = current.map_or(service.version, |task| task.version);
    let displaced = current.and_then(|task| displaced.objection(task));
    let new = current.filter(|_| displaced.is_none());
    let is_new = |task: &Task| new.is_some_and(|new| task.container == new.container);
    let is_newer = |task: &Task| {
        new.is_some_and(|new| task.id > new.id && task.version != version && !is_new(task))
    };
    let before = |task: &&Arc<Task>| !is_new(task) && !is_newer(task);
    let earlier = || tasks.iter().filter(before);
    Slot {
        number,
        version,
        new: new.cloned(),
        old: earlier().filter(|it| slot::is_live(it)).cloned().collect(),
        newer: tasks.iter().filter(|it| is_newer(it)).cloned().collect(),
        predecessor: earlier().rfind(kept).cloned(),
        displaced,
    }
}

/// The container that the slot should keep, if it is there already.
fn current<'a>(service: &Service, pace: Pace, tasks: &'a [Arc<Task>]) -> Option<&'a Arc<Task>> {
    let kept = |task: &&Arc<Task>| task.desired != DesiredState::Remove;
    let last = tasks.iter().rfind(kept)?;
    if last.version == service.version {
        return Some(last);
    }
    // After a rollback: the one from before the update may still be there.
    let untouched = tasks.iter().rfind(|task| {
        task.version == service.version
            && task.desired <= DesiredState::Running
            && !task.status.state.is_terminal()
    });
    untouched.or((pace == Pace::Held).then_some(last))
}

/// How far a slot is from serving with the current version.
pub(super) enum Standing {
    NotBegun,
    UnderWay {
        /// When it counts as failed unless it has come further.
        until: Option<Timestamp>,
    },
    /// It serves, and must go on to until then.
    Proving {
        until: Timestamp,
    },
    Good {
        since: Timestamp,
    },
    Failed(Failure),
}

pub(super) struct Failure {
    /// For people, with the container's number.
    pub(super) reason: String,
    pub(super) hope: Hope,
    pub(super) blame: Blame,
}

/// Whether a container may come up by itself after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    Until(Timestamp),
    None,
}

/// What the failure is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Version,
    /// It has no place, and nodes are away that may have had one: the version before would have
    /// none either.
    Nodes,
}

/// Only failures of this rollout count: runs that were begun since.
pub(super) fn standing(state: &State, service: &Service, slot: &Slot, now: Timestamp) -> Standing {
    let Some(new) = &slot.new else {
        return Standing::NotBegun;
    };
    if slot.version != service.version {
        return Standing::NotBegun;
    }
    if new.status.state == TaskState::Complete && restart::is_final(state, new) {
        return Standing::Good {
            since: new.status.at,
        };
    }
    let serves = slot::is_serving(new);
    let good_at = proven_at(state, service, new, now);
    if serves && good_at <= now && slot.old.is_empty() {
        return Standing::Good { since: good_at };
    }
    let until = deadline(state, service, slot, new);
    if let Some(until) = until.filter(|until| *until <= now) {
        return overdue(state, service, slot, new, until);
    }
    let fresh = new.created_at >= service.rollout.started_at;
    let unproven = good_at > now || !serves;
    if fresh
        && unproven
        && let Some(reason) = failure(state, new)
    {
        let lost = restart::is_final(state, new) || new.failures >= ENOUGH;
        return Standing::Failed(Failure {
            reason: format!("container {}: {reason}", slot.number),
            hope: match until {
                _ if lost => Hope::None,
                Some(until) => Hope::Until(until),
                None => Hope::Until(good_at),
            },
            blame: Blame::Version,
        });
    }
    if serves && good_at > now {
        return Standing::Proving { until: good_at };
    }
    Standing::UnderWay { until }
}

/// When a container that serves will have done so for long enough.
pub(super) fn proven_at(state: &State, service: &Service, new: &Task, now: Timestamp) -> Timestamp {
    // What lies ahead was written down by a leader whose clock was: it is counted anew.
    let seen = Some(new.status.at).filter(|at| *at <= now);
    let begun = seen.unwrap_or_default().max(state.steady_since.min(now));
    // The first version has nothing to be compared with.
    if service.rollout.phase == RolloutPhase::Deploying {
        return begun;
    }
    begun.plus(service.update_config().monitor)
}

/// What a container of the new version has done wrong itself. Being told to end, and being lost
/// with its node, is nothing of that kind.
fn failure(state: &State, new: &Task) -> Option<String> {
    let status = &new.status;
    if matches!(status.state, TaskState::Failed | TaskState::Rejected) {
        return Some(match status.exit_code {
            Some(code) if status.state == TaskState::Failed && !status.reason.contains("exit") => {
                format!("it exited with code {code}: {}", status.reason)
            }
            _ => status.reason.clone(),
        });
    }
    if status.state.is_terminal() {
        return None;
    }
    if new.failures > 0 {
        let runs = state.container_tasks(&new.container);
        let ended = runs.rev().find(|run| run.status.state.is_terminal());
        let reason = ended.map_or("it ended", |run| run.status.reason.as_str());
        return Some(match new.failures {
            1 => reason.to_owned(),
            many => format!("{reason}, {many} times in a row"),
        });
    }
    let health = status.health.as_ref()?;
    let ill = health.status == HealthStatus::Unhealthy;
    ill.then(|| match health.failures() {
        Some(failures) => format!("it is unhealthy ({failures})"),
        None => "it is unhealthy".to_owned(),
    })
}

/// When a container that has not come further counts as failed. `None`: it is not its turn.
fn deadline(state: &State, service: &Service, slot: &Slot, new: &Task) -> Option<Timestamp> {
    let status = &new.status;
    let waits = !slot.old.is_empty() && new.desired == DesiredState::Ready;
    let limit = match status.state {
        // It waits for the old one, whose time to stop is its own.
        TaskState::Ready if waits => return None,
        TaskState::Running if slot::is_serving(new) => return None,
        TaskState::New | TaskState::Pending if is_held_back(state, service, new) => return None,
        TaskState::Preparing => FETCH_DEADLINE,
        TaskState::Running => PROGRESS_DEADLINE + start_period(service),
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Ready
        | TaskState::Starting
        | TaskState::Complete
        | TaskState::Shutdown
        | TaskState::Failed
        | TaskState::Rejected
        | TaskState::Orphaned => PROGRESS_DEADLINE,
    };
    let begun = status
        .at
        .max(new.start_after)
        .max(service.rollout.started_at)
        .max(state.steady_since);
    Some(begun.plus(limit))
}

fn start_period(service: &Service) -> Duration {
    let check = service.spec.container.healthcheck.as_ref();
    check.and_then(|it| it.start_period).unwrap_or_default()
}

/// It waits for a service that it depends on, which has a deadline of its own.
fn is_held_back(state: &State, service: &Service, new: &Task) -> bool {
    match (new.waits_for, gate::gate(state, service)) {
        (WaitsFor::Nothing, _) | (_, Gate::Open) => false,
        (WaitsFor::WhatComes, Gate::Failed(_)) => false,
        (WaitsFor::WhatComes | WaitsFor::Dependencies, _) => true,
    }
}

fn overdue(
    state: &State,
    service: &Service,
    slot: &Slot,
    new: &Task,
    until: Timestamp,
) -> Standing {
    let begun = new.status.at.max(service.rollout.started_at);
    let begun = begun.max(state.steady_since);
    let minutes = until.since(begun).as_secs() / 60;
    let unplaced = new.status.state < TaskState::Assigned;
    let away = |node: &Arc<crate::model::node::Node>| {
        node.status != NodeStatus::Ready || node.availability != Availability::Active
    };
    let told = matches!(
        new.status.state,
        TaskState::Shutdown | TaskState::Orphaned | TaskState::Complete
    );
    let nodes = told || unplaced && state.nodes.values().any(away);
    let what = match &new.status.health {
        Some(health) if new.status.state == TaskState::Running => health
            .failures()
            .unwrap_or_else(|| "its health is not known".to_owned()),
        _ => new.status.reason.clone(),
    };
    Standing::Failed(Failure {
        reason: format!(
            "container {} is not up after {minutes} minutes: {what}",
            slot.number
        ),
        hope: Hope::None,
        blame: if nodes { Blame::Nodes } else { Blame::Version },
    })
}
