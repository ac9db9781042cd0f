//! A container in Docker's words: `running`, `exited`, `Up 3 minutes (healthy)`.

use std::time::Duration;

use scheduler::model::task::{DesiredState, HealthStatus, Task, TaskState};
use scheduler::model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::time::human;

/// Docker's states of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
}

/// Whether the processes of a running container are frozen; only its host knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Frozen {
    #[default]
    No,
    Yes,
}

impl Phase {
    pub(crate) const WORDS: [&str; 7] = [
        "created",
        "running",
        "paused",
        "restarting",
        "removing",
        "exited",
        "dead",
    ];

    /// Reads it off the runs of a container, oldest first.
    pub(crate) fn of<'a>(runs: impl DoubleEndedIterator<Item = &'a Task>, frozen: Frozen) -> Self {
        let mut runs = runs.rev();
        let Some(task) = runs.next() else {
            return Self::Removing;
        };
        let ran_before = runs.any(|run| run.status.started_at.is_some());
        match task.status.state {
            TaskState::Running if frozen == Frozen::Yes => Self::Paused,
            TaskState::Running => Self::Running,
            _ if task.desired == DesiredState::Remove => Self::Removing,
            TaskState::Complete | TaskState::Shutdown | TaskState::Failed | TaskState::Orphaned => {
                Self::Exited
            }
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
                if ran_before =>
            {
                match task.desired {
                    DesiredState::Running => Self::Restarting,
                    _ => Self::Exited,
                }
            }
            TaskState::Rejected if ran_before => Self::Exited,
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Rejected => Self::Created,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
        }
    }

    /// It has processes.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The `STATUS` column of `docker ps`. `ended` is the last run that ended, if any.
    pub(crate) fn sentence(self, task: &Task, ended: Option<&Task>, now: Timestamp) -> String {
        let ago = |at: Option<Timestamp>| human(at.map_or(Duration::ZERO, |at| now.since(at)));
        let code = ended
            .and_then(|task| task.status.exit_code)
            .unwrap_or_default();
        let finished = ended.and_then(|task| task.status.finished_at);
        match self {
            Self::Created => "Created".to_owned(),
            Self::Removing => "Removal In Progress".to_owned(),
            Self::Paused => format!("Up {} (Paused)", ago(task.status.started_at)),
            Self::Running => match &task.status.health {
                None => format!("Up {}", ago(task.status.started_at)),
                Some(health) => {
                    format!(
                        "Up {} ({})",
                        ago(task.status.started_at),
                        health_phrase(health.status)
                    )
                }
            },
            Self::Restarting => format!("Restarting ({code}) {} ago", ago(finished)),
            Self::Exited => format!("Exited ({code}) {} ago", ago(finished)),
        }
    }
}

pub(crate) fn health_word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    }
}

fn health_phrase(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "health: starting",
        HealthStatus::Healthy | HealthStatus::Unhealthy => health_word(status),
    }
}
