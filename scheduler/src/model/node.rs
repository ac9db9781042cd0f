//! A machine of the cluster, as it describes itself and as people label it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::id::NodeId;
use super::time::Timestamp;

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
    /// Countable things that people say it has, by kind, e.g. `gpu`.
    pub generic_resources: BTreeMap<String, u64>,
    /// The same where each one has a name, e.g. `gpu`: `GPU-1a2b`, `GPU-3c4d`.
    pub named_resources: BTreeMap<String, BTreeSet<String>>,
    /// Networks that the host itself routes: automatic subnets keep off them.
    pub host_routes: Vec<Ipv4Net>,
    /// Digest of the authority that signed its certificate; empty on a host that stands alone.
    pub authority: String,
    /// Containers on it see the addresses of clients who come through other nodes: its kernel can
    /// send the answers back the way that the packets came.
    pub keeps_clients: bool,
}

impl NodeDescription {
    /// How many of a kind there are, with or without names.
    pub fn count_of(&self, kind: &str) -> u64 {
        let counted = self.generic_resources.get(kind).copied().unwrap_or(0);
        let named = self.named_resources.get(kind).map_or(0, BTreeSet::len);
        counted.saturating_add(u64::try_from(named).unwrap_or(u64::MAX))
    }
}

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub description: NodeDescription,
    pub labels: BTreeMap<String, String>,
    pub availability: Availability,
    /// What it is wanted to be. Whether a manager votes yet is the consensus group's to say.
    #[serde(default = "Role::of_the_founder")]
    pub role: Role,
    pub status: NodeStatus,
    /// Why it is so, e.g. `heartbeat failure`; empty when there is nothing to explain.
    #[serde(default)]
    pub status_reason: String,
    #[serde(default)]
    pub status_since: Timestamp,
    /// Where it listens for the other nodes (TCP). The same address is the end of its tunnels
    /// (UDP). `None` on a host that stands alone.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER) in hex: whoever has the private half
    /// is this node, also when its certificate has expired. Empty on a host that stands alone.
    #[serde(default)]
    pub public_key: String,
    /// It is down when it was silent for so long; as the cluster's settings say when absent.
    #[serde(default)]
    pub down_after_millis: Option<u64>,
    /// Nodes whose containers those of this node do not reach, as it says itself, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_off: BTreeMap<NodeId, Timestamp>,
}

impl Node {
    /// The name people know it by.
    pub fn name(&self) -> &str {
        match self.description.hostname.as_str() {
            "" => self.id.as_str(),
            hostname => hostname,
        }
    }
}

#[cfg(test)]
impl Node {
    /// A worker that is ready, and nothing more.
    pub(crate) fn test(name: &str) -> Self {
        Self {
            id: NodeId::new(name),
            description: NodeDescription {
                hostname: name.to_owned(),
                ..NodeDescription::default()
            },
            labels: BTreeMap::new(),
            availability: Availability::Active,
            role: Role::Worker,
            status: NodeStatus::Ready,
            status_reason: String::new(),
            status_since: Timestamp::EPOCH,
            address: None,
            public_key: String::new(),
            down_after_millis: None,
            cut_off: BTreeMap::new(),
        }
    }
}

/// What a node may do in its cluster, beside running containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs what it is told to, and knows no more than that.
    Worker,
    /// Decides with the other managers, and holds the cluster's state.
    Manager,
}

impl Role {
    /// Rows of a time when there was only one node say nothing: it was the manager.
    fn of_the_founder() -> Self {
        Self::Manager
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
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
