//! Why a command was not carried out. Each says what, where, and (in [`Refusal::hint`]) what helps.

use std::borrow::Cow;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dependency::Cycle;
use crate::model::id::NodeId;

/// What stands in the way of a node's removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Busy {
    Manager,
    LastManager,
    /// Without its vote the others cannot agree that it is gone.
    Needed,
    NotDown,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "a manager",
            Self::LastManager => "the last manager of its cluster",
            Self::Needed => "a manager without whose vote the others cannot agree on anything",
            Self::NotDown => "not down",
        })
    }
}

/// One of few words; owned after it has come from another manager.
type Word = Cow<'static, str>;

/// A command that was refused has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("there is no stack `{stack}`")]
    UnknownStack { stack: String },
    #[error("stack `{stack}` has no service `{service}`")]
    UnknownService {
        stack: String,
        service: String,
        similar: Option<String>,
    },
    #[error("there is no container `{container}`")]
    UnknownContainer { container: String },
    #[error("there is no network `{network}`")]
    UnknownNetwork { network: String },
    #[error("network `{network}` is external, but does not exist")]
    MissingNetwork { network: String },
    #[error("there is no volume `{volume}`")]
    UnknownVolume { volume: String },
    #[error("volume `{volume}` is external, but does not exist")]
    MissingVolume { volume: String },
    #[error("there is no {kind} `{name}`")]
    UnknownContent { kind: Word, name: String },
    #[error("{kind} `{name}` is external, but does not exist")]
    MissingContent { kind: Word, name: String },
    #[error("there is no node `{node}`")]
    UnknownNode { node: String },

    #[error("this host is no cluster yet: no node can join it")]
    NoCluster,
    #[error("this host is a cluster already")]
    ClusterExists,
    #[error("`{node}` could be any of {}", join(.matches))]
    AmbiguousNode { node: String, matches: Vec<String> },
    #[error("node `{node}` is {what}")]
    NodeBusy { node: String, what: Busy },
    #[error(
        "without node `{node}` the cluster would have {voters} managers that answer, and needs {needed}"
    )]
    QuorumLost {
        node: String,
        voters: usize,
        needed: usize,
    },
    #[error("node {node} was removed from the cluster")]
    NodeRemoved { node: String },
    #[error("node `{node}` is in the cluster already, with another key")]
    NodeExists { node: String },
    #[error("`{label}` is no name for a label: it must not be empty or begin with a space")]
    InvalidLabel { label: String },

    #[error("services depend on each other in a circle: {0}")]
    Cycle(Cycle),
    #[error("port {port}/{protocol} is already published by {holder}; {wanted_by} wants it too")]
    PortTaken {
        port: u16,
        protocol: Word,
        holder: String,
        wanted_by: String,
    },
    #[error("container name `{name}` is already used by {holder}")]
    NameTaken { name: String, holder: String },
    #[error(
        "`{name}` is no name for a container: use letters, digits, `_`, `.` and `-`, and begin with a letter or digit"
    )]
    InvalidName { name: String },
    #[error(
        "service `{service}` has the fixed container name `{name}` and cannot have {replicas} containers"
    )]
    FixedNameReplicas {
        service: String,
        name: String,
        replicas: u32,
    },
    #[error("service `{service}` has no earlier version that was completed")]
    NothingToRollBackTo { service: String },
    #[error("subnet {subnet} of network `{network}` overlaps {other_subnet} of {other}")]
    SubnetTaken {
        network: String,
        subnet: IpNet,
        other: String,
        other_subnet: IpNet,
    },
    #[error("no free subnet is left for network `{network}`")]
    NoSubnetLeft { network: String },
    #[error("address {address} is not in subnet {subnet} of network `{network}`")]
    AddressOutside {
        address: std::net::IpAddr,
        network: String,
        subnet: IpNet,
    },
    #[error("address {address} of network `{network}` is already used by {holder}")]
    AddressTaken {
        address: std::net::IpAddr,
        network: String,
        holder: String,
    },
    #[error("network `{network}` already exists")]
    NetworkExists { network: String },
    #[error("network `{network}` exists with another definition ({difference})")]
    NetworkChanged { network: String, difference: Word },
    #[error("network `{network}` is used by {}", join(.users))]
    NetworkInUse { network: String, users: Vec<String> },
    #[error("network `{network}` is predefined and cannot be removed")]
    NetworkPredefined { network: String },
    #[error("volume `{volume}` exists with another definition")]
    VolumeChanged { volume: String },
    #[error("volume `{volume}` is used by {}", join(.users))]
    VolumeInUse { volume: String, users: Vec<String> },
    #[error("{kind} `{name}` is used by {}", join(.users))]
    ContentInUse {
        kind: Word,
        name: String,
        users: Vec<String>,
    },
    #[error("{kind} `{name}` already exists")]
    ContentExists { kind: Word, name: String },
    #[error("container `{name}` is running")]
    ContainerRunning { name: String },
    #[error("signal {signal} does not end a container")]
    NotAnEndingSignal { signal: String },

    #[error("this node does not lead the cluster")]
    NotLeader {
        /// As far as it knows.
        leader: Option<NodeId>,
    },
    #[error("this node is a worker: it decides nothing")]
    NotAManager {
        /// Addresses of those who do.
        managers: Vec<String>,
    },
    #[error("the cluster's authority was replaced by somebody else meanwhile")]
    AuthorityChanged,
    #[error("no majority of the managers answers: nothing was changed")]
    NoMajority,
    #[error("the managers did not agree in time: it may still be carried out")]
    Unsettled,
    #[error("the cluster's state changed while the command was decided on")]
    Stale,
    #[error("there is no room on the node's disk for what is decided: {reason}")]
    NoRoom { reason: String },
    #[error("the control plane has stopped: {reason}")]
    Stopped { reason: String },
}

impl Refusal {
    /// What the user can do about it, as a sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownService {
                similar: Some(name),
                ..
            } => Some(format!("Did you mean `{name}`?")),
            Self::NoRoom { .. } => Some(
                "Make room there: the node then goes on by itself, also with what it had taken on. Or ask another manager, if there is one."
                    .into(),
            ),
            Self::PortTaken { .. } => {
                Some("Change the published port (left of the colon in `ports:`) of one of them, or stop the other one first.".into())
            }
            Self::NetworkChanged { .. } => {
                Some("Take the stack down and up again to make the network anew.".into())
            }
            Self::MissingNetwork { network } => Some(format!(
                "Create it with `wharfie network create {network}`."
            )),
            Self::MissingContent { kind, name } => Some(match &**kind {
                "config" => format!("Create it with `wharfie secret create --config {name} FILE`."),
                _ => format!("Create it with `wharfie secret create {name} FILE`."),
            }),
            Self::MissingVolume { volume } => {
                Some(format!("Create it with `wharfie volume create {volume}`."))
            }
            Self::FixedNameReplicas { .. } => {
                Some("Remove `container_name`, or ask for one container.".into())
            }
            Self::NothingToRollBackTo { .. } => {
                Some("Deploy the version you want with `wharfie up`.".into())
            }
            Self::ContainerRunning { .. } => Some("Stop it first, or force its removal.".into()),
            Self::NetworkInUse { .. } | Self::VolumeInUse { .. } => {
                Some("Remove what uses it first.".into())
            }
            Self::NotAManager { managers } if !managers.is_empty() => {
                Some(format!("Ask a manager: {}.", join(managers)))
            }
            Self::NoCluster => Some("Make it one with `wharfie cluster init`.".into()),
            Self::AmbiguousNode { .. } => Some("Give more of its id.".into()),
            Self::NodeRemoved { .. } => {
                Some("Run `wharfie leave --force` there: it joins as a new node then.".into())
            }
            Self::NodeBusy { node, what } => Some(match what {
                Busy::Manager => format!(
                    "Demote it first with `wharfie node demote {node}`, or add `--force`."
                ),
                Busy::Needed => format!(
                    "Demote it first with `wharfie node demote {node}`: it can go when that is done."
                ),
                Busy::LastManager => "Promote another node first with `wharfie node promote`, or end the cluster with `wharfie leave --force` on this one.".into(),
                Busy::NotDown => format!(
                    "Let it go with `wharfie leave` there, or force its removal with `wharfie node rm --force {node}`."
                ),
            }),
            Self::QuorumLost { .. } => Some(
                "Bring another manager back or promote one first. When they are gone for good, run `wharfie cluster recover` on one that is left.".into(),
            ),
            Self::Stale | Self::NotLeader { .. } | Self::Unsettled | Self::AuthorityChanged => Some("Try again.".into()),
            Self::UnknownStack { .. }
            | Self::UnknownService { similar: None, .. }
            | Self::UnknownContainer { .. }
            | Self::UnknownNetwork { .. }
            | Self::UnknownVolume { .. }
            | Self::UnknownContent { .. }
            | Self::UnknownNode { .. }
            | Self::ClusterExists
            | Self::NodeExists { .. }
            | Self::InvalidLabel { .. }
            | Self::Cycle(_)
            | Self::NameTaken { .. }
            | Self::InvalidName { .. }
            | Self::SubnetTaken { .. }
            | Self::NoSubnetLeft { .. }
            | Self::AddressOutside { .. }
            | Self::AddressTaken { .. }
            | Self::NetworkExists { .. }
            | Self::NetworkPredefined { .. }
            | Self::VolumeChanged { .. }
            | Self::ContentInUse { .. }
            | Self::ContentExists { .. }
            | Self::NotAnEndingSignal { .. }
            | Self::NoMajority
            | Self::NotAManager { .. }
            | Self::Stopped { .. } => None,
        }
    }
}

fn join(names: &[String]) -> String {
    names.join(", ")
}
