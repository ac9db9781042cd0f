//! A machine of the cluster, as it describes itself and as people label it.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::id::NodeId;

/// What a node says of itself when it registers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescription {
    pub hostname: String,
    /// Go's name of the architecture, e.g. `amd64`.
    pub architecture: String,
    pub os: String,
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory: u64,
    pub engine_labels: BTreeMap<String, String>,
    /// Networks that the host itself routes: automatic subnets keep off them.
    pub host_routes: Vec<Ipv4Net>,
}

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub description: NodeDescription,
    pub labels: BTreeMap<String, String>,
    pub availability: Availability,
    pub status: NodeStatus,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    #[default]
    Active,
    Pause,
    Drain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    #[default]
    Ready,
    Down,
}
