//! Networks that span nodes: a tunnel (VXLAN, RFC 7348) on the bridge, told where everything is.
//!
//!      container A     wh-…      whx…                       whx…     wh-…     container B
//!      10.1.0.3 ──────┤bridge├──┤tunnel├══ UDP 4789 ══════┤tunnel├──┤bridge├────── 10.1.0.4
//!                      gateway    10.1.0.4 is at           10.1.0.3 is at     gateway
//!                      10.1.0.1   02:42:0a:01:00:04,       02:42:0a:01:00:03, 10.1.0.1
//!                                 behind node 192.0.2.2    behind node 192.0.2.1
//!
//! The ways come from the cluster: nothing is learned from packets, nothing is flooded, and what is
//! not known does not leave the node. Each node's bridge has the same gateway address; no question
//! for it ever reaches the tunnel, so that names and the way out are local everywhere.
//!
//! Where services publish ports a node has an address of its own beside it, with a hardware address
//! made from it: from there it forwards to containers on other nodes, and there the answers return.

use std::collections::BTreeSet;
use std::net::IpAddr;

use scheduler::assignment::{AssignedOverlay, RemoteEndpoint};
use scheduler::model::network::mac_of;

use super::address::{Instance, parse_mac};
use super::netlink::{Isolation, Link, Netlink, Tunnel, Way};
use super::record::NetworkRecord;
use super::sweep::Sweeper;
use super::{NetworkError, kernel};

/// The port of tunnels (IANA `vxlan`).
pub(super) const PORT: u16 = 4789;

/// What IPv4 or IPv6, UDP, VXLAN and the inner Ethernet header take of a packet.
fn overhead(node: IpAddr) -> u32 {
    match node {
        IpAddr::V4(_) => 50,
        IpAddr::V6(_) => 70,
    }
}

/// The size of packets that fit through the tunnels of this node.
///
/// # Errors
///
/// When the address is not one of this host's, or the kernel refuses to tell.
pub(super) async fn mtu(netlink: &Netlink, overlay: &AssignedOverlay) -> Result<u32, NetworkError> {
    let outer = netlink
        .mtu_at(overlay.local)
        .await
        .map_err(kernel("look up the interface of the tunnels"))?;
    let address = overlay.local;
    let outer = outer.ok_or(NetworkError::NotOurAddress { address })?;
    Ok(outer.saturating_sub(overhead(address)))
}

/// What a tunnel has been told before.
pub(super) enum Told {
    Nothing,
    /// By a process before this one, which may have come to its end in between.
    Perhaps(AssignedOverlay),
    Whole(AssignedOverlay),
}

impl Told {
    fn overlay(&self) -> Option<&AssignedOverlay> {
        match self {
            Self::Nothing => None,
            Self::Perhaps(overlay) | Self::Whole(overlay) => Some(overlay),
        }
    }
}

/// Makes the tunnel of a network and tells it the ways; without an overlay, removes it.
pub(super) async fn ensure(
    netlink: &Netlink,
    sweeper: &Sweeper,
    instance: &Instance,
    network: &NetworkRecord,
    mut told: Told,
) -> Result<(), NetworkError> {
    let name = instance.tunnel(&network.id);
    let Some(overlay) = &network.overlay else {
        return match told {
            Told::Nothing => Ok(()),
            Told::Perhaps(_) | Told::Whole(_) => delete(sweeper, &name).await,
        };
    };
    let mut link = find(netlink, &name).await?;
    let other_end = told
        .overlay()
        .is_some_and(|told| !is_same_end(told, overlay));
    if link.is_some() && other_end {
        delete(sweeper, &name).await?;
        link = None;
    }
    let link = match link {
        Some(link) => link,
        None => {
            told = Told::Nothing;
            make(netlink, instance, network, overlay, &name).await?
        }
    };
    if let Some(mtu) = network.packet_size().filter(|mtu| *mtu != link.mtu) {
        let set = netlink.set_mtu(link.index, mtu).await;
        set.map_err(kernel(format!("set the packet size of `{name}`")))?;
    }
    tell(netlink, &link, overlay, &told).await?;
    own(netlink, network, overlay).await
}

pub(super) async fn delete(sweeper: &Sweeper, name: &str) -> Result<(), NetworkError> {
    let deleted = sweeper.delete(name).await;
    deleted.map_err(kernel(format!("delete tunnel `{name}`")))
}

fn is_same_end(one: &AssignedOverlay, other: &AssignedOverlay) -> bool {
    (one.vni, one.local) == (other.vni, other.local)
}

async fn make(
    netlink: &Netlink,
    instance: &Instance,
    network: &NetworkRecord,
    overlay: &AssignedOverlay,
    name: &str,
) -> Result<Link, NetworkError> {
    let unknown = || NetworkError::UnknownNetwork {
        network: network.name.clone(),
    };
    let bridge = find(netlink, &network.bridge).await?.ok_or_else(unknown)?;
    let tunnel = Tunnel {
        name,
        alias: instance.alias(network.id.as_str()),
        vni: overlay.vni,
        port: PORT,
        local: overlay.local,
        bridge: bridge.index,
        isolation: if network.inter_container {
            Isolation::Open
        } else {
            Isolation::Isolated
        },
        mtu: network.packet_size().unwrap_or(1450),
    };
    let made = netlink.add_tunnel(&tunnel).await;
    made.map_err(|source| match source.raw_os_error() {
        Some(libc::EEXIST) => NetworkError::TunnelTaken { vni: overlay.vni },
        _ => kernel(format!("make tunnel `{name}` (VXLAN)"))(source),
    })?;
    find(netlink, name).await?.ok_or_else(unknown)
}

/// Adds the ways that are new and takes away those that are gone.
async fn tell(
    netlink: &Netlink,
    link: &Link,
    overlay: &AssignedOverlay,
    told: &Told,
) -> Result<(), NetworkError> {
    let wanted: BTreeSet<Way> = overlay.remote.iter().filter_map(way).collect();
    let before = told.overlay().into_iter().flat_map(|it| &it.remote);
    let before: BTreeSet<Way> = before.filter_map(way).collect();
    for way in before.difference(&wanted) {
        let forgotten = netlink.delete_way(link.index, way).await;
        forgotten.map_err(kernel(format!("forget the way to {}", way.address)))?;
    }
    let known = |way: &&Way| matches!(told, Told::Whole(_)) && before.contains(way);
    for way in wanted.iter().filter(|way| !known(way)) {
        let added = netlink.add_way(link.index, way).await;
        added.map_err(kernel(format!("learn the way to {}", way.address)))?;
    }
    Ok(())
}

fn way(endpoint: &RemoteEndpoint) -> Option<Way> {
    Some(Way {
        address: endpoint.address,
        mac: parse_mac(&endpoint.mac)?,
        node: endpoint.node,
    })
}

/// Lets answers to this node's own address arrive.
async fn own(
    netlink: &Netlink,
    network: &NetworkRecord,
    overlay: &AssignedOverlay,
) -> Result<(), NetworkError> {
    let mac = overlay
        .address
        .and_then(|address| parse_mac(&mac_of(address)));
    let (Some(mac), Some(bridge)) = (mac, find(netlink, &network.bridge).await?) else {
        return Ok(());
    };
    let added = netlink.add_own_mac(bridge.index, mac).await;
    added.map_err(kernel("receive on this node's own address"))
}

async fn find(netlink: &Netlink, name: &str) -> Result<Option<Link>, NetworkError> {
    let found = netlink.link(name).await;
    found.map_err(kernel(format!("look up interface `{name}`")))
}
