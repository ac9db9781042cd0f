//! What this node says of its tasks: a pure function of what is wanted and what is seen.

use scheduler::assignment::AssignedTask;
use scheduler::model::task::{DesiredState, Fault, TaskState, TaskStatus};
use scheduler::model::time::Timestamp;

use crate::container::Exit;
use crate::host::{Hooks, Observed, Op, Phase, SeenContainer};
use crate::plan::waits_for;

/// What is being done to a task's container at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Nothing,
    Preparing,
    Starting,
    /// Its commands after the start run.
    Greeting,
    /// Its commands before the stop run.
    Leaving,
}

impl Activity {
    pub fn of(op: &Op) -> Self {
        match op {
            Op::Prepare(_) => Self::Preparing,
            Op::Start(_) => Self::Starting,
            Op::PostStart(_) => Self::Greeting,
            Op::PreStop { .. } => Self::Leaving,
            _ => Self::Nothing,
        }
    }
}

/// The status of a task; `None` when there is nothing to say yet.
pub fn status(
    task: &AssignedTask,
    observed: &Observed,
    activity: Activity,
    now: Timestamp,
) -> Option<TaskStatus> {
    let seen = observed.containers.get(&task.container);
    let own = seen.filter(|seen| seen.task.as_ref() == Some(&task.id));
    match activity {
        Activity::Preparing => {
            return Some(TaskStatus::new(
                TaskState::Preparing,
                now,
                format!("preparing {}", task.spec.image),
            ));
        }
        Activity::Starting => return Some(TaskStatus::new(TaskState::Starting, now, "starting")),
        Activity::Nothing | Activity::Greeting | Activity::Leaving => {}
    }
    let Some(own) = own else {
        let holds =
            seen.is_some_and(|seen| seen.phase.is_alive() || matches!(seen.phase, Phase::Ended(_)));
        let over = task.desired >= DesiredState::Shutdown && !holds;
        return over
            .then(|| TaskStatus::new(TaskState::Shutdown, now, "ended before it was started"));
    };
    let mut status = of_phase(task, own, observed, now)?;
    status.image_id = own.image_id.as_deref().map(Into::into);
    status.ports.clone_from(&own.ports);
    if activity == Activity::Leaving {
        status.reason = "its pre_stop commands run".to_owned();
    }
    Some(status)
}

fn of_phase(
    task: &AssignedTask,
    own: &SeenContainer,
    observed: &Observed,
    now: Timestamp,
) -> Option<TaskStatus> {
    let never_ran = task.desired >= DesiredState::Shutdown;
    match &own.phase {
        Phase::Bare => never_ran
            .then(|| TaskStatus::new(TaskState::Shutdown, now, "ended before it was started")),
        Phase::Prepared if never_ran => Some(TaskStatus::new(
            TaskState::Shutdown,
            now,
            "ended before it was started",
        )),
        Phase::Prepared => {
            let reason = waits_for(task, observed).unwrap_or_else(|| "prepared".to_owned());
            Some(TaskStatus::new(TaskState::Ready, now, reason))
        }
        Phase::Running { .. } if matches!(own.hooks, Hooks::AfterStart) => {
            let reason = "its post_start commands run";
            Some(TaskStatus::new(TaskState::Starting, now, reason))
        }
        Phase::Running { .. } if let Hooks::Failed(reason) = &own.hooks => {
            Some(TaskStatus::new(TaskState::Starting, now, reason.clone()))
        }
        Phase::Running { pid, started_at } => Some(TaskStatus {
            pid: Some(*pid),
            started_at: Some(*started_at),
            health: own.health.clone().map(Box::new),
            ..TaskStatus::new(
                TaskState::Running,
                now,
                if own.stop.is_some() { "stopping" } else { "" },
            )
        }),
        // What was last said of it still holds, until its names and health are served again.
        Phase::Found { .. } => None,
        // Its ports and addresses are still held: nothing may take its place yet.
        Phase::Ended(_) => None,
        Phase::Released(_) | Phase::Rejected { .. } => ended(task, own),
    }
}

/// The status of a task whose container has ended or could not be prepared, and holds nothing any
/// more; `None` while it is anything else.
pub fn ended(task: &AssignedTask, own: &SeenContainer) -> Option<TaskStatus> {
    match &own.phase {
        Phase::Released(exit) => Some(of_exit(task, own, exit)),
        Phase::Rejected { reason, at } => {
            Some(TaskStatus::new(TaskState::Rejected, *at, reason.clone()))
        }
        Phase::Bare
        | Phase::Prepared
        | Phase::Found { .. }
        | Phase::Running { .. }
        | Phase::Ended(_) => None,
    }
}

fn of_exit(task: &AssignedTask, own: &SeenContainer, exit: &Exit) -> TaskStatus {
    let told = own.stop.is_some() || task.desired >= DesiredState::Shutdown;
    let (state, reason) = match (&exit.error, exit.code) {
        (Some(error), _) => (TaskState::Failed, error.clone()),
        (None, code) if told => (TaskState::Shutdown, format!("stopped, exit code {code}")),
        (None, 0) => (TaskState::Complete, "completed".to_owned()),
        (None, code) if exit.oom_killed => (
            TaskState::Failed,
            format!("out of memory, exit code {code}"),
        ),
        (None, code) => (TaskState::Failed, format!("exit code {code}")),
    };
    let fault = match (&exit.error, exit.started_at) {
        _ if state != TaskState::Failed => None,
        (_, None) => Some(Fault::Start),
        (Some(_), Some(_)) => Some(Fault::Hook),
        (None, Some(_)) => Some(Fault::Program),
    };
    TaskStatus {
        exit_code: Some(exit.code),
        fault,
        oom_killed: exit.oom_killed,
        started_at: exit.started_at,
        finished_at: Some(exit.finished_at),
        ..TaskStatus::new(state, exit.finished_at, reason)
    }
}

/// Whether two statuses say the same, whenever they were made.
pub fn same(a: &TaskStatus, b: &TaskStatus) -> bool {
    TaskStatus {
        at: b.at,
        ..a.clone()
    } == *b
}

#[cfg(test)]
mod tests;
