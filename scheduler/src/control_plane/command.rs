//! What people ask for, and what they are told.
//!
//! A command is a wish against the state at the time it is looked at. What follows from it is a set
//! of changes, and the answer is given once these are safe on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::cluster::{Authority, Cluster, Secret};
use crate::model::id::{ContainerId, NetworkId, NodeId};
use crate::model::image::ImagePin;
use crate::model::network::NetworkSpec;
use crate::model::node::{Availability, NodeDescription, Role};
use crate::model::service::{AnonymousVolumes, ServiceSpec};
use crate::model::stack::{ContentSpec, Stack};
use crate::model::task::StopOrder;
use crate::model::volume::VolumeSpec;

/// A wish. Service names are keys of the Compose file; an empty list of them means all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// `up`, `create`, `scale` with a file.
    Deploy {
        stack: Stack,
        options: DeployOptions,
    },
    /// `down`.
    RemoveStack {
        stack: String,
        /// Not empty: only these services; networks and volumes stay.
        services: Vec<String>,
        volumes: Volumes,
        /// Seconds until containers are killed; as their specs say when absent.
        grace_seconds: Option<i64>,
    },
    /// `stop`: dependents first.
    StopServices {
        stack: String,
        services: Vec<String>,
        grace_seconds: Option<i64>,
    },
    /// `start`: what exists is started again, on the same containers.
    StartServices {
        stack: String,
        services: Vec<String>,
    },
    RestartServices {
        stack: String,
        services: Vec<String>,
        grace_seconds: Option<i64>,
        dependents: Dependents,
    },
    /// `kill` with a signal that ends the container; others are sent to the node directly.
    KillServices {
        stack: String,
        services: Vec<String>,
        signal: String,
    },
    /// `rm`.
    RemoveStopped {
        stack: String,
        services: Vec<String>,
        running: RunningContainers,
        volumes: Volumes,
    },
    /// `rollback`: to the version that was completed before the current one.
    RollBack {
        stack: String,
        services: Vec<String>,
    },
    /// `scale`: replicas by service.
    ScaleServices {
        stack: String,
        replicas: BTreeMap<String, u32>,
    },

    /// `docker create`, `run`: the mode of the spec is `Standalone`.
    CreateContainer {
        /// Made up when absent.
        name: Option<String>,
        stack: Option<String>,
        spec: ServiceSpec,
        /// The node it must be on; any when absent.
        node: Option<NodeId>,
    },
    StartContainer {
        container: ContainerId,
    },
    StopContainer {
        container: ContainerId,
        order: StopOrder,
    },
    RestartContainer {
        container: ContainerId,
        order: StopOrder,
    },
    RemoveContainer {
        container: ContainerId,
        running: RunningContainers,
        volumes: Volumes,
    },
    RenameContainer {
        container: ContainerId,
        name: String,
    },

    CreateNetwork {
        spec: NetworkSpec,
    },
    RemoveNetwork {
        /// Name or identifier.
        network: String,
    },
    CreateVolume {
        spec: VolumeSpec,
    },
    RemoveVolume {
        name: String,
    },
    CreateSecret {
        spec: ContentSpec,
    },
    RemoveSecret {
        name: String,
    },
    CreateConfig {
        spec: ContentSpec,
    },
    RemoveConfig {
        name: String,
    },

    /// A node says who it is, at each of its starts.
    RegisterNode {
        node: NodeId,
        description: NodeDescription,
    },

    /// `cluster init`: from now on others may join. The secrets were made by who asks.
    InitCluster {
        cluster: Box<Cluster>,
        /// The node that asks, and where it listens from now on.
        node: NodeId,
        address: SocketAddr,
        /// See [`Node::public_key`](crate::model::node::Node::public_key).
        public_key: String,
    },
    /// A node whose token was good. Sent again by the same node, it changes only what differs.
    JoinNode {
        node: NodeId,
        description: NodeDescription,
        role: Role,
        address: SocketAddr,
        public_key: String,
        /// Of a node that is new.
        #[serde(default)]
        availability: Availability,
    },
    /// `node update`, `promote`, `demote`.
    UpdateNode {
        /// Identifier, the beginning of one, or host name.
        node: String,
        update: NodeUpdate,
    },
    /// `node rm`.
    RemoveNode {
        /// Identifier, the beginning of one, or host name.
        node: String,
        force: Force,
    },
    /// `leave`: the node itself wants to go.
    LeaveCluster {
        node: NodeId,
        force: Force,
    },
    /// `join-token --rotate`: the old secret lets nobody in any more.
    RotateToken {
        role: Role,
        secret: Secret,
    },
    /// `cluster ca --rotate`: nodes get certificates of another authority, one after the other.
    RotateAuthority {
        /// PEM of the one that it follows: between two rotations only one can be right.
        replaces: String,
        authority: Box<Authority>,
        /// The secrets of workers and managers: tokens pin the authority, and so the old ones are void.
        tokens: (Secret, Secret),
    },
    /// `cluster update`
    UpdateCluster {
        update: ClusterUpdate,
    },
    /// A node listens somewhere else from now on.
    SetNodeAddress {
        node: NodeId,
        address: SocketAddr,
    },
}

/// What is to be different about a node; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeUpdate {
    pub availability: Option<Availability>,
    pub role: Option<Role>,
    pub set_labels: BTreeMap<String, String>,
    pub remove_labels: BTreeSet<String>,
    /// Milliseconds of silence after which it is down.
    pub down_after_millis: Option<u64>,
}

/// What is to be different about the whole cluster; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterUpdate {
    /// A node's certificate is good for so many hours from its next renewal on.
    pub certificate_hours: Option<u64>,
    /// Milliseconds between two heartbeats of a node.
    pub heartbeat_millis: Option<u64>,
}

/// Whether something is done although it is better not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    #[default]
    No,
    Yes,
}

/// How a stack is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployOptions {
    /// Only these, and what they depend on; all when empty.
    pub services: Vec<String>,
    pub dependencies: Dependencies,
    pub recreate: Recreate,
    /// Overrides the replicas of the file.
    pub scale: BTreeMap<String, u32>,
    pub orphans: Orphans,
    /// What each service's image is now, by service, as far as it has been found out: containers
    /// that run another one are replaced.
    pub pins: BTreeMap<String, ImagePin>,
    /// What is shown to registries for the stack's images, by registry; what is not among them
    /// stays as it was.
    pub logins: BTreeMap<String, Secret>,
    pub start: Start,
    pub anonymous_volumes: AnonymousVolumes,
    /// Seconds until replaced containers are killed; as their specs say when absent.
    pub grace_seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependencies {
    #[default]
    Include,
    /// `--no-deps`: neither started nor waited for.
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recreate {
    #[default]
    IfChanged,
    /// `--force-recreate`.
    Always,
    /// `--no-recreate`.
    Never,
}

/// Services of the stack that the file no longer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    #[default]
    Keep,
    Remove,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    #[default]
    Now,
    /// `--no-start`: containers are made and left alone.
    Later,
}

/// What becomes of volumes when what uses them goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volumes {
    #[default]
    Keep,
    /// `down -v`: named and anonymous ones; `rm -v`: anonymous ones.
    Delete,
}

/// What removal does with a container that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunningContainers {
    /// Leaves it (`rm` of a stack), or refuses (`docker rm`).
    #[default]
    Spare,
    /// Stops it as its spec says (`rm --stop`).
    Stop,
    /// Kills it (`docker rm -f`).
    Kill,
}

/// Whether dependents with `restart: true` are restarted too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependents {
    #[default]
    Restart,
    Leave,
}

/// The answer to a command that was carried out: what it decided is on disk, and follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Deployed {
        /// Services of which containers will be made or replaced.
        changed: Vec<String>,
        /// Services of the stack that the file does not have, and which were kept.
        orphans: Vec<String>,
    },
    ContainerCreated {
        id: ContainerId,
        name: String,
    },
    NetworkCreated {
        id: NetworkId,
    },
    NodeRemoved {
        id: NodeId,
        /// Named volumes whose data was on the node: what uses them next begins with empty ones.
        volumes: Vec<String>,
    },
    /// A manager wants to leave and is wanted as a worker now: it can go, asked again, when its vote
    /// no longer counts.
    NodeDemoted,
    Done,
}
