//! Networks, and the addresses on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
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
    /// `enable_ipv4: false`; goes with `enable_ipv6`.
    pub ipv6_only: bool,
    /// Made by somebody else: it must exist, and `down` leaves it.
    pub external: bool,
    /// Chosen by the cluster when absent.
    pub subnet: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    /// Automatic addresses are taken from here; from the whole subnet when absent.
    pub ip_range: Option<Ipv4Net>,
    /// The same for IPv6, where it is enabled.
    pub ipv6: Ipv6Pool,
    /// Addresses that are never given out, by a name for each.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// What a file says about a network's IPv6 addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ipv6Pool {
    /// Chosen by the cluster when absent.
    pub subnet: Option<Ipv6Net>,
    pub gateway: Option<Ipv6Addr>,
    pub ip_range: Option<Ipv6Net>,
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
    /// IPv4, but for networks that are IPv6 only.
    pub subnet: IpNet,
    pub gateway: IpAddr,
    /// Beside an IPv4 subnet.
    #[serde(default)]
    pub ipv6: Option<Ipv6Subnet>,
    /// Number of its tunnels between nodes (VXLAN network identifier, RFC 7348): 4097 to 16777215,
    /// zero until the cluster has several nodes.
    #[serde(default)]
    pub vni: u32,
    /// The address of each node's own on it, from which published ports are forwarded to containers
    /// on other nodes.
    #[serde(default)]
    pub node_addresses: BTreeMap<NodeId, IpAddr>,
    /// Beside those, where there is an IPv6 subnet beside the IPv4 one.
    #[serde(default)]
    pub node_addresses_ipv6: BTreeMap<NodeId, Ipv6Addr>,
    /// Being removed: nothing new is connected, and it goes when its last task has gone.
    pub removing: bool,
    pub created_at: Timestamp,
}

/// A network's IPv6 subnet, and the address in it that leads out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Subnet {
    pub subnet: Ipv6Net,
    pub gateway: Ipv6Addr,
}

impl Network {
    /// Its subnets, one of each family that it has.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> {
        let beside = self.ipv6.map(|it| IpNet::V6(it.subnet));
        std::iter::once(self.subnet).chain(beside)
    }

    /// The subnet of an address's family, or else its only one.
    pub fn subnet_like(&self, address: IpAddr) -> IpNet {
        let mut subnets = self.subnets();
        let same = subnets.find(|it| it.addr().is_ipv4() == address.is_ipv4());
        same.unwrap_or(self.subnet)
    }

    /// Where its IPv6 addresses come from.
    pub fn ipv6_subnet(&self) -> Option<Ipv6Subnet> {
        match (self.subnet, self.gateway) {
            (IpNet::V6(subnet), IpAddr::V6(gateway)) => Some(Ipv6Subnet { subnet, gateway }),
            _ => self.ipv6,
        }
    }
}

/// A task's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub network: NetworkId,
    /// IPv4, but on networks that are IPv6 only.
    pub address: IpAddr,
    /// Beside an IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// `02:42:0a:01:02:03`: made from the address, unless the user chose one.
    pub mac: String,
}

impl Attachment {
    /// One of each family that the network has.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.ipv6.map(IpAddr::V6))
    }

    /// Its IPv6 address, the only one or beside another.
    pub fn ipv6_address(&self) -> Option<Ipv6Addr> {
        match self.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => self.ipv6,
        }
    }
}

/// `02:42` and the address, as Docker makes them; of an IPv6 address its host part, folded.
pub fn mac_of(address: IpAddr) -> String {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let host = address.to_bits() as u64;
            ((host >> 32) as u32 ^ host as u32).to_be_bytes()
        }
    };
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
