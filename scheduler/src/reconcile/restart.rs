//! Runs containers again that have ended, as their restart policy says.
//!
//! The wait before a restart doubles with each one in a row, from the policy's delay up to a
//! minute; a run of ten seconds breaks the row. (Docker: `restartmanager`.)

use std::sync::Arc;
use std::time::Duration;

use super::place;
use super::slot::{self, Cause};
use crate::model::service::{RestartCondition, RestartPolicy, Service};
use crate::model::task::{DesiredState, Task, TaskState, TaskStatus, WaitsFor};
use crate::model::time::Timestamp;
use crate::report::Tally;
use crate::state::{Draft, State};

/// A run of this length was a success, whatever ended it.
const GOOD_RUN: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Failures in a row after which another node is tried, if there is one.
const ENOUGH: u32 = 5;

pub(super) fn pass(draft: &mut Draft<'_>) {
    let ended: Vec<(Arc<Task>, Cause)> = draft
        .state()
        .tasks
        .values()
        .filter_map(|task| Some((task.clone(), again(draft.state(), task)?)))
        .collect();
    for (task, cause) in ended {
        if is_poisoned(cause) && move_away(draft, &task, cause) {
            continue;
        }
        let reason = format!("restarting after it ended: {}", task.status.reason);
        slot::rerun(draft, &task, DesiredState::Running, cause, reason);
    }
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
    next.waits_for = WaitsFor::Nothing;
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
    let last = state
        .service_tasks(&service.id)
        .rfind(|other| other.slot == task.slot)?;
    if last.id != task.id {
        return None;
    }
    let tally = Tally {
        restarts: task.restarts,
        failures: task.failures,
    };
    let again = restart(&service.spec.restart, &task.status, tally)?;
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
    let tries = if policy.window.is_zero() {
        tally.restarts
    } else {
        tally.failures
    };
    if !wanted || (policy.max_attempts > 0 && tries >= policy.max_attempts) {
        return None;
    }
    let end = status.finished_at.unwrap_or(status.at);
    let ran = status
        .started_at
        .map_or(Duration::ZERO, |start| end.since(start));
    let good = ran >= GOOD_RUN.max(policy.window);
    let failures = if good { 0 } else { tally.failures };
    Some(Again {
        failures: failures + 1,
        start_after: end.plus(wait(policy.delay, failures)),
    })
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
