//! Starts ended containers again by itself, for as long as no manager answers.
//!
//!     a manager is heard   ─► an end is reported, and the scheduler decides about another task
//!     nobody for a while   ─► the same policy and back-off, here; the task stays the same
//!     heard again          ─► it is told how often, so that nobody starts another one
//!
//! Nothing is counted before the container is really begun again: when a manager comes back during
//! a back-off, it is told of the end as of any other.

use std::collections::BTreeSet;

use scheduler::assignment::{AssignedTask, Assignment};
use scheduler::model::id::TaskId;
use scheduler::model::task::{DesiredState, TaskState, TaskStatus};
use scheduler::model::time::Timestamp;
use scheduler::reconcile::restart::{self, Again};
use scheduler::report::{Rerun, Tally};

use crate::ledger::Reruns;

/// The restarts that no manager has counted yet.
#[derive(Debug, Default)]
pub(super) struct Own {
    reruns: Reruns,
    told: BTreeSet<TaskId>,
}

/// What the policy makes of a task's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It runs, has not ended yet, or stays as it is.
    Leave,
    Wait(Timestamp),
    Begin(Tally),
}

impl Own {
    pub(super) fn new(reruns: Reruns) -> Self {
        Self {
            reruns,
            told: BTreeSet::new(),
        }
    }

    pub(super) fn all(&self) -> &Reruns {
        &self.reruns
    }

    pub(super) fn verdict(
        &self,
        task: &AssignedTask,
        status: &TaskStatus,
        now: Timestamp,
    ) -> Verdict {
        let ended = matches!(
            status.state,
            TaskState::Complete | TaskState::Failed | TaskState::Rejected
        );
        if task.desired != DesiredState::Running || !ended {
            return Verdict::Leave;
        }
        let before = self.tally(task);
        match restart::restart(&task.restart, status, before) {
            None => Verdict::Leave,
            Some(Again { start_after, .. })
                if restart::is_early(&task.restart, start_after, now) =>
            {
                Verdict::Wait(start_after)
            }
            Some(Again { failures, .. }) => Verdict::Begin(Tally {
                restarts: before.restarts + 1,
                failures,
            }),
        }
    }

    /// It was begun again.
    pub(super) fn count(&mut self, task: &TaskId, tally: Tally) {
        self.told.remove(task);
        self.reruns.insert(task.clone(), tally);
    }

    /// What has not been told in this session.
    pub(super) fn untold(&mut self) -> Vec<Rerun> {
        let fresh = self
            .reruns
            .iter()
            .filter(|(id, _)| !self.told.contains(*id));
        let fresh: Vec<Rerun> = fresh
            .map(|(task, tally)| Rerun {
                task: task.clone(),
                tally: *tally,
            })
            .collect();
        self.told
            .extend(fresh.iter().map(|rerun| rerun.task.clone()));
        fresh
    }

    /// Somebody else listens now.
    pub(super) fn tell_again(&mut self) {
        self.told.clear();
    }

    /// Drops what the scheduler has counted itself, and tasks that are no more. Returns whether
    /// anything was dropped.
    pub(super) fn settle(&mut self, assignment: &Assignment) -> bool {
        let before = self.reruns.len();
        self.reruns.retain(|id, tally| {
            let task = assignment.tasks.iter().find(|task| task.id == *id);
            task.is_some_and(|task| task.restarts < tally.restarts)
        });
        self.reruns.len() != before
    }

    fn tally(&self, task: &AssignedTask) -> Tally {
        let counted = Tally {
            restarts: task.restarts,
            failures: task.failures,
        };
        let own = self.reruns.get(&task.id).copied();
        own.filter(|own| own.restarts > counted.restarts)
            .unwrap_or(counted)
    }
}
