//! Networks on this host: bridges, interfaces of containers, published ports, balancing, isolation.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use scheduler::assignment::{AssignedInterface, AssignedNetwork};
use scheduler::model::container::{Protocol, PublishedPort};
use scheduler::model::id::{ContainerId, NetworkId};
use serde::{Deserialize, Serialize};

pub use address::Instance;

mod address;

/// Where the driver keeps its things.
#[derive(Clone, Debug)]
pub struct NetworksConfig {
    /// Keeps several nodes on one machine apart.
    pub instance: Instance,
    /// A directory for what a later agent must know; best on tmpfs, as it is void after a reboot.
    pub state_dir: PathBuf,
}

/// A network that has a bridge on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNetwork {
    pub id: NetworkId,
    pub bridge: String,
    /// The gateway's address and the prefix; `None` when the bridge is half made.
    pub address: Option<Ipv4Net>,
}

/// An interface to make, and the network that it is on.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    pub interface: &'a AssignedInterface,
    pub network: &'a AssignedNetwork,
}

/// What a container got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    pub ports: Vec<BoundPort>,
}

/// A published port that the host answers on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoundPort {
    /// `0.0.0.0` for every address of the host.
    pub host_ip: Ipv4Addr,
    pub port: u16,
    pub target: u16,
    pub protocol: Protocol,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortHolder {
    Container(ContainerId),
    Process {
        pid: u32,
        name: String,
    },
    /// The kernel says that it is taken; nobody was found.
    Unknown,
}

/// Drives the networks of this host, in the network namespace of the calling thread.
pub struct Networks {}

impl Networks {
    /// Opens the driver, takes over what an earlier agent left, and puts the firewall in place.
    pub async fn open(config: NetworksConfig) -> Result<Arc<Self>, NetworkError> {
        let _ = config;
        Err(NetworkError::Unfinished)
    }

    /// Networks that have a bridge here.
    pub async fn observe(&self) -> Result<Vec<ObservedNetwork>, NetworkError> {
        Err(NetworkError::Unfinished)
    }

    /// Makes the network's bridge, its address and its rules; repairs what is missing.
    pub async fn ensure(&self, network: &AssignedNetwork) -> Result<(), NetworkError> {
        let _ = network;
        Err(NetworkError::Unfinished)
    }

    /// Deletes the network's bridge and rules; nothing happens when they are gone already.
    pub async fn remove(&self, id: &NetworkId) -> Result<(), NetworkError> {
        let _ = id;
        Err(NetworkError::Unfinished)
    }

    /// Gives the container in the namespace of `pid` exactly these interfaces, and binds its ports.
    ///
    /// Call it between `create` and `start`, and again when a running container's networks change.
    /// The networks must have been ensured. On error nothing of it is left.
    pub async fn connect(
        &self,
        container: &ContainerId,
        pid: u32,
        endpoints: &[Endpoint<'_>],
        ports: &[PublishedPort],
    ) -> Result<Connected, NetworkError> {
        let _ = (container, pid, endpoints, ports);
        Err(NetworkError::Unfinished)
    }

    /// Removes the container's ports, rules and interfaces; it may be gone already.
    pub async fn disconnect(&self, container: &ContainerId) -> Result<(), NetworkError> {
        let _ = container;
        Err(NetworkError::Unfinished)
    }

    /// Makes the virtual addresses of these networks work inside the container's namespace.
    ///
    /// Costs nothing when nothing has changed since the last call.
    pub async fn balance(
        &self,
        container: &ContainerId,
        pid: u32,
        networks: &[&AssignedNetwork],
    ) -> Result<(), NetworkError> {
        let _ = (container, pid, networks);
        Err(NetworkError::Unfinished)
    }

    /// Fails with [`NetworkError::PortInUse`] when one of the ports could not be bound now.
    pub async fn check_ports(&self, ports: &[PublishedPort]) -> Result<(), NetworkError> {
        let _ = ports;
        Err(NetworkError::Unfinished)
    }

    /// Takes over a running container that an earlier agent connected: binds its ports again.
    ///
    /// `None` when nothing is known of it.
    pub async fn adopt(&self, container: &ContainerId) -> Result<Option<Connected>, NetworkError> {
        let _ = container;
        Err(NetworkError::Unfinished)
    }

    /// Containers that have something here; those that do not run any more are to be disconnected.
    pub fn containers(&self) -> Vec<ContainerId> {
        Vec::new()
    }
}

/// Why a network or a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("networks are not finished")]
    Unfinished,
    #[error("port {port}/{} on {host_ip} is already in use on the host{}", protocol.as_str(), describe(holder))]
    PortInUse {
        host_ip: Ipv4Addr,
        port: u16,
        protocol: Protocol,
        holder: PortHolder,
    },
    #[error("every port from {first} to {last}/{} on {host_ip} is in use", protocol.as_str())]
    RangeInUse {
        host_ip: Ipv4Addr,
        first: u16,
        last: u16,
        protocol: Protocol,
    },
    #[error("cannot publish on {address}: the host does not have this address")]
    NotOurAddress { address: IpAddr },
    #[error("cannot publish on {address}: published ports are IPv4 only")]
    Ipv6Port { address: IpAddr },
    #[error("cannot {action}")]
    Kernel { action: String, source: io::Error },
}

fn describe(holder: &PortHolder) -> String {
    match holder {
        PortHolder::Container(id) => format!(" by container {}", id.short()),
        PortHolder::Process { pid, name } => format!(" by process `{name}` (pid {pid})"),
        PortHolder::Unknown => String::new(),
    }
}
