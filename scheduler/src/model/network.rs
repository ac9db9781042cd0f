//! Networks, and the addresses on them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::id::{NetworkId, NodeId};
use super::time::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Final name, e.g. `shop_default`.
    pub name: String,
    pub driver: NetworkDriver,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// No way out to the world, and no published ports.
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    /// Made by somebody else: it must exist, and `down` leaves it.
    pub external: bool,
    /// Chosen by the cluster when absent.
    pub subnet: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    /// Automatic addresses are taken from here; from the whole subnet when absent.
    pub ip_range: Option<Ipv4Net>,
    /// Addresses that are never given out, by a name for each.
    pub aux_addresses: BTreeMap<String, Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkDriver {
    /// On a cluster, all its hosts as well: the same file works on one host and on many.
    #[default]
    Bridge,
    Overlay,
}

/// A network as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub id: NetworkId,
    pub spec: NetworkSpec,
    pub stack: Option<String>,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// Number of its tunnels between nodes (VXLAN network identifier, RFC 7348): 4097 to 16777215,
    /// zero until the cluster has several nodes.
    #[serde(default)]
    pub vni: u32,
    /// The address of each node's own on it, from which published ports are forwarded to containers
    /// on other nodes.
    #[serde(default)]
    pub node_addresses: BTreeMap<NodeId, Ipv4Addr>,
    /// Being removed: nothing new is connected, and it goes when its last task has gone.
    pub removing: bool,
    pub created_at: Timestamp,
}

/// A task's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub network: NetworkId,
    pub address: Ipv4Addr,
    /// `02:42:0a:01:02:03`: made from the address, unless the user chose one.
    pub mac: String,
}

/// `02:42` and the address, as Docker makes them.
pub fn mac_of(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
