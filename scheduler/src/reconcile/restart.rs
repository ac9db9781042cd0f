//! Runs containers again that have ended, as their restart policy says.
//!
//! The wait before a restart doubles with each one in a row, from the policy's delay up to a
//! minute; a run of ten seconds, or of the policy's `window`, breaks the row. (Docker: `restartmanager`.)
//!
//! A container of a service that runs and is unhealthy has failed as well: where the policy says that
//! it is run again, it is ended first. One that was made on its own is left alone, as Docker does.

use std::sync::Arc;
use std::time::Duration;

use super::place;
use super::slot::{self, Cause};
use crate::model::service::{RestartCondition, RestartPolicy, Service};
use crate::model::task::{DesiredState, HealthStatus, Task, TaskState, TaskStatus, WaitsFor};
use crate::model::time::Timestamp;
use crate::report::Tally;
use crate::state::{Draft, State};

/// A run of this length was a success, whatever ended it.
const GOOD_RUN: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Failures in a row after which another node is tried, if there is one.
const ENOUGH: u32 = 5;

pub(super) fn pass(draft: &mut Draft<'_>) {
    condemn(draft);
    let state = draft.state();
    let tasks = state.restless_services();
    let tasks = tasks.flat_map(|service| state.service_tasks(&service.id));
    let mut ended: Vec<(Arc<Task>, Cause)> = tasks
        .filter_map(|task| Some((task.clone(), again(state, task)?)))
        .collect();
    // Those that are made anew are made in the order of those before.
    ended.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
    for (task, cause) in ended {
        if is_poisoned(cause) && move_away(draft, &task, cause) {
            continue;
        }
        let reason = format!("restarting after it ended: {}", task.status.reason);
        slot::rerun(draft, &task, DesiredState::Running, cause, reason);
    }
}

/// Ends what is ill and would be run again if it had failed.
fn condemn(draft: &mut Draft<'_>) {
    let state = draft.state();
    let tasks = state.restless_services();
    let tasks = tasks.flat_map(|service| state.service_tasks(&service.id));
    let ill: Vec<(Arc<Task>, String)> = tasks
        .filter_map(|task| Some((task.clone(), illness(state, task, draft.now)?)))
        .collect();
    for (task, reason) in ill {
        draft.set_task(Task {
            desired: DesiredState::Shutdown,
            condemned: Some(reason.into()),
            ..(*task).clone()
        });
    }
}

/// Why a container that runs must be ended and run again.
fn illness(state: &State, task: &Task, now: Timestamp) -> Option<String> {
    let health = task.status.health.as_ref()?;
    if task.status.state != TaskState::Running
        || task.desired != DesiredState::Running
        || health.status != HealthStatus::Unhealthy
    {
        return None;
    }
    let service = state.service_of(task)?;
    let last = state.slots(&service.id).get(&task.slot)?.id == task.id;
    if service.is_standalone() || !last || !is_wanted(state, service, task) {
        return None;
    }
    let failed = TaskStatus {
        state: TaskState::Failed,
        finished_at: Some(now),
        ..task.status.clone()
    };
    let tally = Tally {
        restarts: task.restarts,
        failures: task.failures,
    };
    restart(&service.spec.restart, &failed, tally)?;
    Some(match health.failures() {
        Some(failures) => format!("unhealthy ({failures})"),
        None => "unhealthy".to_owned(),
    })
}

/// What a node says of a run that was condemned: that it was told to end is no secret to us.
pub(super) fn verdict(task: &Task, mut status: TaskStatus) -> TaskStatus {
    if let Some(reason) = &task.condemned
        && matches!(status.state, TaskState::Shutdown | TaskState::Complete)
    {
        status.state = TaskState::Failed;
        status.reason = match status.exit_code {
            Some(code) => format!("{reason}, exit code {code}"),
            None => reason.to_string(),
        };
    }
    status
}

/// Whether it is time to see if another node does better.
fn is_poisoned(cause: Cause) -> bool {
    matches!(cause, Cause::Policy { failures, .. } if failures > 0 && failures % ENOUGH == 0)
}

/// Goes on with a new container elsewhere, where one can be had. What it wrote stays behind, and
/// goes with the old container.
fn move_away(draft: &mut Draft<'_>, task: &Task, cause: Cause) -> bool {
    let (Some(service), Some(node)) = (draft.state().service_of(task).cloned(), &task.node) else {
        return false;
    };
    if !place::is_movable(draft.state(), &service, task) {
        return false;
    }
    let mut next = slot::make(
        draft,
        &service,
        task.slot,
        DesiredState::Running,
        None,
        None,
    );
    if let Cause::Policy {
        failures,
        start_after,
    } = cause
    {
        next.failures = failures;
        next.start_after = start_after;
    }
    next.waits_for = WaitsFor::WhatComes;
    next.restarts = task.restarts + 1;
    next.avoids = Some(node.clone());
    let reason = format!(
        "tried on another node after {ENOUGH} failures in a row: {}",
        task.status.reason
    );
    next.status = TaskStatus::new(TaskState::New, draft.now, reason);
    draft.set_task(next);
    draft.desire(task, DesiredState::Remove, None);
    true
}

/// Whether and when an ended task is followed by another run of its container.
fn again(state: &State, task: &Task) -> Option<Cause> {
    if !task.status.state.is_terminal() || task.desired == DesiredState::Remove {
        return None;
    }
    let service = state.service_of(task)?;
    if !is_wanted(state, service, task) {
        return None;
    }
    // Only the last run of the last container of the slot can be followed by another.
    if state.slots(&service.id).get(&task.slot)?.id != task.id {
        return None;
    }
    let tally = Tally {
        restarts: task.restarts,
        failures: task.failures,
    };
    let mut status = task.status.clone();
    // What takes the place of a container that was up could be started once: nobody waits for an
    // answer to give the reason to, and it is only here that it could not.
    if status.state == TaskState::Rejected && task.waits_for == WaitsFor::WhatComes {
        status.state = TaskState::Failed;
    }
    let again = restart(&service.spec.restart, &status, tally)?;
    Some(Cause::Policy {
        failures: again.failures,
        start_after: again.start_after,
    })
}

fn is_wanted(state: &State, service: &Service, task: &Task) -> bool {
    service.removal.is_none()
        // The version before serves until its slot's turn comes; what a job did before is over.
        && (task.version == service.version || !service.is_job())
        && !service.halted.contains(&task.slot)
        && slot::is_wanted(state, service, task.slot)
}

/// Another run after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Failures in a row so far.
    pub failures: u32,
    /// The end of the back-off.
    pub start_after: Timestamp,
}

/// What the policy makes of an end, with the restarts before it. `None`: it stays ended.
pub fn restart(policy: &RestartPolicy, status: &TaskStatus, tally: Tally) -> Option<Again> {
    let failed = match status.state {
        TaskState::Failed => true,
        // What could never be started will not be started by trying again.
        TaskState::Rejected if tally.restarts == 0 => return None,
        TaskState::Rejected => true,
        TaskState::Complete | TaskState::Shutdown => false,
        TaskState::Orphaned
        | TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Preparing
        | TaskState::Ready
        | TaskState::Starting
        | TaskState::Running => return None,
    };
    let wanted = match policy.condition {
        RestartCondition::Never => false,
        RestartCondition::OnFailure => failed,
        RestartCondition::Always | RestartCondition::UnlessStopped => true,
    };
    let end = status.finished_at.unwrap_or(status.at);
    let ran = status
        .started_at
        .map_or(Duration::ZERO, |start| end.since(start));
    let good = ran >= good_run(policy);
    let failures = if good { 0 } else { tally.failures };
    let tries = match policy.window.is_zero() {
        true => tally.restarts,
        false => failures,
    };
    if !wanted || (policy.max_attempts > 0 && tries >= policy.max_attempts) {
        return None;
    }
    Some(Again {
        failures: failures + 1,
        start_after: end.plus(wait(policy.delay, failures)),
    })
}

/// How long it must have run to have been started well.
fn good_run(policy: &RestartPolicy) -> Duration {
    match policy.window.is_zero() {
        true => GOOD_RUN,
        false => policy.window,
    }
}

fn wait(delay: Duration, failures: u32) -> Duration {
    let factor = 1u32 << failures.min(20);
    delay.saturating_mul(factor).min(LONGEST_WAIT.max(delay))
}

/// Whether it has ended and will not be run again without a person.
pub fn is_final(state: &State, task: &Task) -> bool {
    task.status.state.is_terminal() && again(state, task).is_none()
}

/// Whether it is too early to start. A time that lies further ahead than any wait is long was written
/// down by a clock that has been set back since, and holds nobody back.
pub fn is_early(policy: &RestartPolicy, start_after: Timestamp, now: Timestamp) -> bool {
    let ahead = start_after.since(now);
    !ahead.is_zero() && ahead <= LONGEST_WAIT.max(policy.delay)
}

/// The time before which a task must not start, when that lies ahead.
pub fn waits_until(task: &Task, now: Timestamp) -> Option<Timestamp> {
    (task.start_after > now).then_some(task.start_after)
}

#[cfg(test)]
mod tests;
