//! A task: one run of one container.
//!
//!     New ─► Pending ─► Assigned ─► Preparing ─► Ready ─► Starting ─► Running ─► Complete │ Shutdown │ Failed
//!       (scheduler)                  (node)        └──────── error before it ran ──────► Rejected
//!
//! The scheduler writes `desired` and the states up to `Assigned`; from then on only the node that
//! has the task moves `status`. Both only move forward: a restart is a new task in the same slot,
//! on the same container if its definition has not changed (so that the container keeps its id, its
//! name and what it wrote), on a new one if it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{ContainerId, NodeId, ServiceId, TaskId};
use super::network::Attachment;
use super::time::Timestamp;

/// What most tasks have not lies in boxes: a cluster may have a million of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub container: ContainerId,
    pub service: ServiceId,
    pub slot: u32,
    /// The container's name, e.g. `shop-web-1`.
    pub name: String,
    /// The version of the service that it runs.
    pub version: u64,
    pub node: Option<NodeId>,
    pub desired: DesiredState,
    /// How a task that must end is ended; `None` is as the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Box<StopOrder>>,
    pub status: TaskStatus,
    pub attachments: Vec<Attachment>,
    /// What of the node's own it was granted, by kind: names, or how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Vec<String>>,
    /// What must be so before it is started.
    #[serde(default)]
    pub waits_for: WaitsFor,
    /// The container that this one takes the place of: its anonymous volumes are carried over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ContainerId>,
    /// Failures in a row in this slot, up to this run; decides the wait before the next restart.
    pub failures: u32,
    /// Restarts of this container so far, as `docker inspect` shows them.
    pub restarts: u32,
    /// The node on which the slot's containers failed again and again: taken only if no other can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoids: Option<NodeId>,
    /// Why the scheduler ends it although nobody asked for that: its end is a failure, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condemned: Option<Box<str>>,
    /// Do not start before this time (back-off).
    pub start_after: Timestamp,
    pub created_at: Timestamp,
}

impl Task {
    /// What it was granted of the node's generic resources, as its environment says it; as Docker
    /// does: `DOCKER_RESOURCE_GPU=UUID1,UUID2`.
    pub fn granted(&self) -> impl Iterator<Item = (String, Option<String>)> {
        self.resources.iter().map(|(kind, granted)| {
            let name = format!("DOCKER_RESOURCE_{}", kind.to_uppercase());
            (name, Some(granted.join(",")))
        })
    }
}

/// What a task waits for before it gets its place on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The conditions of the service's `depends_on`.
    #[default]
    Dependencies,
    /// Those of them that may come to hold by themselves: what its policy runs again, after a boot of
    /// the host say, comes up in order, and does not stay down with what stays down.
    WhatComes,
    /// Only the end of the container's run before.
    Nothing,
}

/// Declared in the order in which they are passed through, so that they can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    New,
    Pending,
    Assigned,
    Preparing,
    Ready,
    Starting,
    Running,
    /// Ended with exit code 0.
    Complete,
    /// Ended because it was told to.
    Shutdown,
    /// Ended by itself with an error.
    Failed,
    /// Could not be started.
    Rejected,
    /// Its node has been gone for so long that nobody knows.
    Orphaned,
}

impl TaskState {
    /// It has ended, or never will begin.
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// Prepared, but not started (`docker create`, and the next one of a rollout).
    Ready,
    Running,
    /// Ended; the container is kept.
    Shutdown,
    /// Ended, and the container deleted.
    Remove,
}

/// How to end a task, when a person said so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopOrder {
    /// A name (`SIGTERM`) or a number.
    pub signal: Option<String>,
    /// Seconds until it is killed; negative is never.
    pub grace_seconds: Option<i64>,
    /// With `Remove`: its anonymous volumes go too.
    pub remove_volumes: bool,
}

/// What has become of a task. Everything but `New` to `Assigned` is said by its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub state: TaskState,
    /// When it came into this state.
    pub at: Timestamp,
    /// Why it is in this state, for people: never empty unless it is running.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What has failed, where it has; a node of the version before does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    pub oom_killed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<Health>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Digest of the image's configuration, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Arc<str>>,
    /// Published ports as they were bound: target `80/tcp` to host port.
    pub ports: BTreeMap<String, u16>,
}

impl TaskStatus {
    pub fn new(state: TaskState, at: Timestamp, reason: impl Into<String>) -> Self {
        Self {
            state,
            at,
            reason: reason.into(),
            exit_code: None,
            fault: None,
            oom_killed: false,
            pid: None,
            health: None,
            started_at: None,
            finished_at: None,
            image_id: None,
            ports: BTreeMap::new(),
        }
    }
}

/// What made a run fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The program could not be started, or nobody knows whether it was.
    Start,
    /// A command that follows the start has failed (`post_start`), and the program was ended for it.
    Hook,
    /// The program ran, and ended with an error by itself.
    Program,
}

/// What the health check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// Failed probes in a row.
    pub failing_streak: u32,
    /// Failed probes that make it unhealthy.
    pub retries: u32,
    /// Exit code and first line of output of the last probe.
    pub last_probe: Option<String>,
}

impl Health {
    /// How the probes have gone, for people: `probe 3/5: connection refused`. `None` while none has
    /// failed.
    pub fn failures(&self) -> Option<String> {
        let count = match self.failing_streak {
            0 => return None,
            // It goes on being probed after it was found unhealthy.
            streak if streak > self.retries => format!("{streak} probes failed"),
            streak => format!("probe {streak}/{}", self.retries),
        };
        Some(match &self.last_probe {
            Some(said) => format!("{count}: {said}"),
            None => count,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

#[cfg(test)]
mod tests;
