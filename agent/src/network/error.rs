//! Why networks and connections cannot be made.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use scheduler::model::container::Protocol;

use super::{NftError, PortHolder};

/// Why a network or a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("port {port}/{} on {host_ip} is already in use on the host{}", protocol.as_str(), describe(holder))]
    PortInUse {
        host_ip: IpAddr,
        port: u16,
        protocol: Protocol,
        holder: PortHolder,
    },
    #[error("every port from {first} to {last}/{} on {host_ip} is in use", protocol.as_str())]
    RangeInUse {
        host_ip: IpAddr,
        first: u16,
        last: u16,
        protocol: Protocol,
    },
    #[error("cannot publish on {address}: the host does not have this address")]
    NotOurAddress { address: IpAddr },
    #[error(
        "cannot publish on {address}: the container has no {} address there",
        if address.is_ipv4() { "IPv4" } else { "IPv6" }
    )]
    NoSuchTarget { address: IpAddr },
    #[error("cannot publish on ::1: UDP ports of a container are not answered on IPv6 loopback")]
    NoDatagrams,
    #[error(
        "network `{network}` has IPv6 addresses, and this host has none (net.ipv6.conf.all.disable_ipv6 is 1, or the kernel is without IPv6)"
    )]
    NoIpv6 { network: String },
    #[error("`{name}` cannot name an interface: 1 to 15 of letters, digits, `-`, `_` and `.`")]
    InvalidName { name: String },
    #[error("`{mac}` is no hardware address of a single interface")]
    InvalidMac { mac: String },
    #[error("gateway {gateway} is not in subnet {subnet}")]
    GatewayOutside { gateway: IpAddr, subnet: IpNet },
    #[error("subnet {subnet} overlaps with that of network `{other}`")]
    Overlap { subnet: IpNet, other: String },
    #[error("interface `{bridge}` exists and does not belong to this network")]
    BridgeTaken { bridge: String },
    #[error("the tunnel number {vni} is used by another interface of this host")]
    TunnelTaken { vni: u32 },
    #[error("network `{network}` is full on this host: a bridge takes 1023 interfaces")]
    BridgeFull { network: String },
    #[error("network `{network}` is not set up on this host")]
    UnknownNetwork { network: String },
    #[error("process {pid} has no network namespace to connect")]
    NoNamespace { pid: u32, source: io::Error },
    #[error("process {pid} is in the host's network namespace")]
    HostNamespace { pid: u32 },
    #[error("cannot use state directory {path}")]
    Records { path: PathBuf, source: io::Error },
    #[error("cannot load firewall rules")]
    Firewall(#[from] NftError),
    #[error("cannot {action}")]
    Kernel { action: String, source: io::Error },
}

/// Wraps an error of the kernel with what was tried.
pub(super) fn kernel(action: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
    let action = action.into();
    move |source| NetworkError::Kernel { action, source }
}

fn describe(holder: &PortHolder) -> String {
    match holder {
        PortHolder::Container(id) => format!(" by container {}", id.short()),
        PortHolder::Process { pid, name } => format!(" by process `{name}` (pid {pid})"),
        PortHolder::Unknown => String::new(),
    }
}
