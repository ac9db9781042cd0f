//! What one node must run, and what it must know to run it.
//!
//! A node is always told the whole wanted set, numbered by a generation: it refuses an older one,
//! and lost, late or repeated messages do no harm. What is not in the set is removed, except data:
//! a volume is deleted only when the set names it and says so.

pub mod build;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::cluster::Secret;
use crate::model::container::{ContainerSpec, Protocol};
use crate::model::id::{ContainerId, NetworkId, NodeId, TaskId};
use crate::model::network::Ipv6Subnet;
use crate::model::node::Role;
use crate::model::service::RestartPolicy;
use crate::model::task::{DesiredState, StopOrder};
use crate::model::time::Timestamp;
use crate::model::volume::VolumeSpec;

/// The whole wanted set of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The cluster's epoch: goes up when the cluster was recovered by hand, and comes before the
    /// generation.
    #[serde(default)]
    pub epoch: u64,
    /// Goes up with each change; a node never goes back.
    pub generation: u64,
    /// Where the managers are, for the time when the one that was asked has gone. Empty on a host
    /// that stands alone.
    #[serde(default)]
    pub managers: Vec<(NodeId, SocketAddr)>,
    /// PEM of the authorities whose certificates are believed, the one that signs first; empty on a
    /// host that stands alone.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// What the node is wanted to be; absent when the state does not know it.
    #[serde(default)]
    pub role: Option<Role>,
    pub tasks: Vec<Arc<AssignedTask>>,
    pub networks: Vec<AssignedNetwork>,
    /// Ports that this node answers on for services, wherever their containers are.
    #[serde(default)]
    pub published: Vec<SharedPort>,
    pub volumes: Vec<AssignedVolume>,
    /// Contents of the secrets and configs that the tasks are granted, by final name.
    pub secrets: BTreeMap<String, Vec<u8>>,
    pub configs: BTreeMap<String, Vec<u8>>,
    /// What to show to the registry of a container's image, while it has yet to be pulled.
    #[serde(default)]
    pub logins: BTreeMap<ContainerId, Secret>,
}

impl Assignment {
    /// Orders what a node has been told: it refuses everything that is not newer.
    pub fn number(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }
}

/// The latest task of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedTask {
    pub id: TaskId,
    pub container: ContainerId,
    /// The container's name, e.g. `shop-web-1`.
    pub name: String,
    /// The key in the Compose file, or the container's own name.
    pub service: String,
    pub stack: Option<String>,
    pub slot: u32,
    pub spec: Arc<ContainerSpec>,
    pub desired: DesiredState,
    pub stop: Option<StopOrder>,
    /// Its fixed ports in ingress mode are not its own: the node answers on them, see
    /// [`Assignment::published`].
    #[serde(default)]
    pub shares_ports: bool,
    /// What it was granted of the node's generic resources, as in [`Task::resources`]; the
    /// specification's environment says it as well.
    ///
    /// [`Task::resources`]: crate::model::task::Task::resources
    #[serde(default)]
    pub resources: BTreeMap<String, Vec<String>>,
    /// In the order in which the interfaces are made; the first gives the default route.
    pub interfaces: Vec<AssignedInterface>,
    /// The containers whose network, pid or ipc namespace it joins or whose volumes it has, by kind.
    pub joins: BTreeMap<String, ContainerId>,
    pub replaces: Option<ContainerId>,
    /// What the node does by itself when it ends and no manager answers.
    #[serde(default)]
    pub restart: RestartPolicy,
    pub restarts: u32,
    /// Failures in a row before this run.
    #[serde(default)]
    pub failures: u32,
    pub start_after: Timestamp,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedInterface {
    pub network: NetworkId,
    /// `eth0`, unless the user chose a name.
    pub name: String,
    /// IPv4, but on networks that are IPv6 only.
    pub address: IpAddr,
    pub prefix_len: u8,
    pub mac: String,
    /// `None` on internal networks, and on all but one of a container's networks.
    pub default_gateway: Option<IpAddr>,
    /// Beside an IPv4 address.
    #[serde(default)]
    pub ipv6: Option<AssignedIpv6>,
    /// Further addresses of the interface, known to nobody else.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
}

/// The IPv6 address of an interface that has an IPv4 one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedIpv6 {
    pub address: Ipv6Addr,
    pub prefix_len: u8,
    /// As that of the interface.
    pub default_gateway: Option<Ipv6Addr>,
}

impl AssignedInterface {
    /// One of each family that the network has.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let beside = self.ipv6.map(|it| IpAddr::V6(it.address));
        std::iter::once(self.address).chain(beside)
    }
}

/// A network with everything that must be known on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedNetwork {
    pub id: NetworkId,
    pub name: String,
    /// IPv4, but for networks that are IPv6 only.
    pub subnet: IpNet,
    pub gateway: IpAddr,
    /// Beside an IPv4 subnet.
    #[serde(default)]
    pub ipv6: Option<Ipv6Subnet>,
    pub internal: bool,
    /// Bytes; the host's default when absent.
    pub mtu: Option<u32>,
    /// Name of the bridge on the host, when the user chose one.
    pub bridge_name: Option<String>,
    /// `com.docker.network.bridge.enable_icc`: containers on it may talk to each other.
    pub inter_container: bool,
    pub masquerade: bool,
    /// What a name means on this network: service names, aliases, container names and short ids,
    /// in lower case. Only containers that serve are in it, in a stable order; a service with a
    /// virtual address has just that one.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    pub virtual_addresses: Vec<VirtualAddress>,
    /// The way to the other nodes; `None` while there are none.
    #[serde(default)]
    pub overlay: Option<AssignedOverlay>,
}

/// Tunnels to the other nodes that have something on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedOverlay {
    /// VXLAN network identifier.
    pub vni: u32,
    /// Where this node's tunnels end.
    pub local: IpAddr,
    /// This node's own address on the network, where it forwards published ports to other nodes.
    pub address: Option<IpAddr>,
    /// Beside that, where there is an IPv6 subnet beside the IPv4 one.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Everything on the network that is on another node, in a stable order.
    pub remote: Vec<RemoteEndpoint>,
    /// The other nodes' own addresses on the network: through these come clients of theirs.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// A node's own address on a network, and the IPv6 one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    pub address: IpAddr,
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
}

impl AssignedOverlay {
    /// This node's own address of the same family as another.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        let own = self.address.into_iter().chain(self.ipv6.map(IpAddr::V6));
        let mut alike = own.filter(|it| it.is_ipv4() == other.is_ipv4());
        alike.next()
    }
}

/// An address on another node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteEndpoint {
    pub address: IpAddr,
    pub mac: String,
    /// Where that node's tunnels end.
    pub node: IpAddr,
    /// The node sends answers back the way that packets came, so that clients' addresses may stay.
    #[serde(default)]
    pub keeps_clients: bool,
}

/// A port that leads to the containers of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SharedPort {
    pub service: String,
    /// The host's address to answer on; every address when absent.
    pub host_ip: Option<IpAddr>,
    pub port: u16,
    pub protocol: Protocol,
    pub target: u16,
    /// The network on which the backends are reached.
    pub network: NetworkId,
    /// The containers that serve, in a stable order: those of this node where there are any, so that
    /// they see the client's address, or else those of other nodes. None: connections are refused.
    pub backends: Vec<IpAddr>,
}

/// An address that stands for several of its family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAddress {
    pub service: String,
    pub address: IpAddr,
    /// The addresses of the containers that serve, in a stable order; none: connections are refused.
    pub backends: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedVolume {
    pub spec: VolumeSpec,
    /// Delete it, with its data.
    pub remove: bool,
}
