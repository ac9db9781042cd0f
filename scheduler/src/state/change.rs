//! What has been decided: the only thing that is replicated.
//!
//! A change carries the whole row it sets, so that applying it needs no decision, no clock and no
//! chance: the same log gives the same state everywhere.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RequestId;
use crate::control_plane::command::Reply;
use crate::model::cluster::Cluster;
use crate::model::id::{ContainerId, NetworkId, NodeId, ServiceId, TaskId};
use crate::model::network::Network;
use crate::model::node::Node;
use crate::model::service::Service;
use crate::model::stack::{StackRecord, StoredContent};
use crate::model::task::{DesiredState, StopOrder, Task, TaskStatus};
use crate::model::time::Timestamp;
use crate::model::volume::Volume;

/// One entry of the log: all of it, or, if the state has moved on since it was decided, nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The version of the state that it was decided on.
    pub base: u64,
    pub at: Timestamp,
    pub changes: Vec<Change>,
    /// The commands that it carries out, with their answers, so that none is carried out twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<(RequestId, Reply)>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Another clock is looked at from now on.
    SteadySince(Timestamp),
    SetCluster(Arc<Cluster>),
    /// The host stands alone again.
    RemoveCluster,
    SetNode(Arc<Node>),
    RemoveNode(NodeId),
    SetStack(Arc<StackRecord>),
    RemoveStack(String),
    SetService(Arc<Service>),
    RemoveService(ServiceId),
    SetNetwork(Arc<Network>),
    RemoveNetwork(NetworkId),
    /// Automatic addresses of the network go on after this one.
    SetAddressCursor(NetworkId, IpAddr),
    SetVolume(Arc<Volume>),
    RemoveVolume(String),
    SetSecret(Arc<StoredContent>),
    RemoveSecret(String),
    SetConfig(Arc<StoredContent>),
    RemoveConfig(String),

    SetTask(Arc<Task>),
    RemoveTask(TaskId),
    /// The task's node, or the scheduler before it has one, has seen something.
    Observe(TaskId, Box<TaskStatus>),
    Desire(TaskId, DesiredState, Option<StopOrder>),
    /// Every run of the container, and the container itself, is gone.
    ForgetContainer(ContainerId),
}
