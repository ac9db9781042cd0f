//! What has become of a stack, for people: the whole picture at one revision.
//!
//! `up`, `down` and `ps` show it; a watcher gets it anew whenever it changes. It is always whole,
//! so that a client that missed one has missed nothing.

mod build;
mod cut_off;
mod rollout;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::{ContainerId, TaskId};
use crate::model::task::{DesiredState, Fault, Health, TaskState};
use crate::model::time::Timestamp;

pub use build::of;
pub use cut_off::cut_off;
pub use rollout::RolloutStatus;

/// A stack as it is. A stack that does not exist has no services, networks and volumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StackStatus {
    pub name: String,
    /// The revision of the state that this was read from.
    pub revision: u64,
    pub services: Vec<ServiceStatus>,
    /// Final names of the stack's networks and whether they are being removed.
    pub networks: Vec<ResourceStatus>,
    pub volumes: Vec<ResourceStatus>,
    /// Images that are being fetched at this moment, by the node that answers and, in a stream of
    /// pictures, by the nodes with its containers.
    pub pulls: Vec<PullStatus>,
    /// Final names of networks, of any stack, that nobody has any more and whose bridges these nodes
    /// have yet to delete.
    pub leaving_networks: Vec<String>,
    /// What these nodes try again and again for it, and why that failed the last time.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub image: String,
    /// Containers wanted; stopped slots are not counted.
    pub wanted: u32,
    pub phase: ServicePhase,
    /// Why it is not settled, or how it failed; empty when it is settled.
    pub reason: String,
    /// Names of the services it depends on.
    pub depends_on: Vec<String>,
    pub has_healthcheck: bool,
    /// `up` streams its output.
    pub attach: bool,
    pub containers: Vec<ContainerStatus>,
    /// The update under way, or how the last one ended if there is something to say about it.
    #[serde(default)]
    pub rollout: Option<RolloutStatus>,
}

/// How far a service is from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePhase {
    /// On the way, nothing is wrong.
    Progressing,
    /// Waits for another service; the reason says for which and why.
    Waiting,
    /// As wanted: running (and the old version gone), or completed, or stopped on request.
    Settled,
    /// It will not get there by itself: rejected, failed without restarts left, an update
    /// paused, or a dependency that failed.
    Failed,
    /// Being removed.
    Removing,
}

/// One container, by its latest task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: ContainerId,
    pub task: TaskId,
    pub name: String,
    pub slot: u32,
    pub node: Option<String>,
    pub state: TaskState,
    pub desired: DesiredState,
    pub at: Timestamp,
    pub reason: String,
    pub exit_code: Option<i32>,
    /// What has failed, where it has and its node says so.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// It has ended before its program began: that could not be started.
    #[serde(default)]
    pub unstarted: bool,
    pub health: Option<Health>,
    /// It runs the service's current version.
    pub current: bool,
    /// Made by `run`, not by `up`.
    pub one_off: bool,
    pub restarts: u32,
    /// Why its policy runs it again: how the run before ended.
    #[serde(default)]
    pub restarted_after: Option<String>,
    /// What there is nothing to hear of it without: `for node b to return: …`.
    #[serde(default)]
    pub awaits: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatus {
    pub name: String,
    pub removing: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PullStatus {
    pub image: String,
    /// Bytes; zero when not known yet.
    pub current: u64,
    pub total: u64,
    /// Short layer id to what is happening to it.
    pub layers: BTreeMap<String, String>,
}
