//! What a node says about its containers, and what the control plane may believe of it.
//!
//! Reports are about state, not about events: a later one contains everything that an earlier one
//! said, so that lost, late and repeated ones do no harm.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, TaskId};
use crate::model::task::{Task, TaskStatus};

/// Whatever has changed on a node since its last report; an unchanged task may be repeated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub tasks: Vec<(TaskId, TaskStatus)>,
    /// Containers that were to be removed, and of which nothing is left.
    pub removed_containers: Vec<ContainerId>,
    /// Volumes that were to be removed, and whose data is gone.
    pub removed_volumes: Vec<String>,
    /// What the node has restarted by itself while no manager answered.
    #[serde(default)]
    pub reruns: Vec<Rerun>,
    /// All the nodes, by where their tunnels end, whose containers those of this node do not reach;
    /// absent when nothing is said about it.
    #[serde(default)]
    pub cut_off: Option<BTreeSet<IpAddr>>,
}

/// A task whose container the node has started again without being told to. It stays the same task:
/// only a manager makes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerun {
    pub task: TaskId,
    pub tally: Tally,
}

/// How often a container was restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them, as `docker inspect` counts.
    pub restarts: u32,
    /// Failures in a row.
    pub failures: u32,
}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.removed_containers.is_empty()
            && self.removed_volumes.is_empty()
            && self.reruns.is_empty()
            && self.cut_off.is_none()
    }
}

/// Whether a status says something new about a task: states only move forward, and an end is final.
pub fn is_news(task: &Task, status: &TaskStatus) -> bool {
    !task.status.state.is_terminal() && status.state >= task.status.state && *status != task.status
}
