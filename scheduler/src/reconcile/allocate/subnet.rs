//! Chooses subnets: Docker's, as far as neither hosts nor other networks use them.
//!
//!     172.17/16 (the network `bridge`), 172.18/16 … 172.31/16, then 10.64.0/24 … 10.127.255/24
//!
//!     fd 0123456789 abcd::/64      unique local addresses (RFC 4193): 40 bits of chance that are
//!        cluster    network        the cluster's, then 16 that are the network's

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use crate::model::id::NetworkId;
use crate::state::State;

/// The network that every cluster has from its first node on.
const FIRST: &str = "bridge";

/// The first candidate that overlaps nothing known.
pub fn choose(state: &State) -> Option<Ipv4Net> {
    let taken = taken(state);
    candidates().find(|subnet| !taken.iter().any(|other| overlap(&(*subnet).into(), other)))
}

/// The one that Docker users expect for the network `bridge`, or another.
pub fn choose_for_bridge(state: &State) -> Option<Ipv4Net> {
    let usual = Ipv4Net::new(Ipv4Addr::new(172, 17, 0, 0), 16).ok()?;
    let taken = taken(state);
    if taken.iter().any(|other| overlap(&usual.into(), other)) {
        return choose(state);
    }
    Some(usual)
}

/// One of the cluster's 65536 IPv6 subnets, for a network with this identifier.
pub fn choose_ipv6(state: &State, network: &NetworkId) -> Option<Ipv6Net> {
    // Identifiers are random, and the first network's stays for as long as the cluster.
    let first = state.network_named(FIRST).map(|it| &it.id);
    let cluster = Sha256::digest(first.unwrap_or(network).as_str());
    let own = Sha256::digest(network.as_str());
    let taken = taken(state);
    let start = u16::from_be_bytes([own[0], own[1]]);
    let candidate = |turn: u16| {
        let [c0, c1, c2, c3, c4] = [cluster[0], cluster[1], cluster[2], cluster[3], cluster[4]];
        let [n0, n1] = start.wrapping_add(turn).to_be_bytes();
        let octets = [0xfd, c0, c1, c2, c3, c4, n0, n1, 0, 0, 0, 0, 0, 0, 0, 0];
        Ipv6Net::new(Ipv6Addr::from(octets), 64).ok()
    };
    let mut candidates = (0..=u16::MAX).filter_map(candidate);
    candidates.find(|subnet| !taken.iter().any(|other| overlap(&(*subnet).into(), other)))
}

/// The first address that a host can have: the one before it means the whole subnet (IPv4), or
/// any of its routers (IPv6, RFC 4291).
pub fn first(subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => subnet.hosts().next().unwrap_or(subnet.network()).into(),
        IpNet::V6(subnet) => subnet.hosts().nth(1).unwrap_or(subnet.network()).into(),
    }
}

/// Whether two networks have an address in common.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// A default route overlaps everything and says nothing.
fn taken(state: &State) -> Vec<IpNet> {
    let routes = state
        .nodes
        .values()
        .flat_map(|node| &node.description.host_routes)
        .filter(|route| route.prefix_len() > 0)
        .map(|route| IpNet::V4(*route));
    let networks = state.networks.values();
    routes
        .chain(networks.flat_map(|network| network.subnets()))
        .collect()
}

fn candidates() -> impl Iterator<Item = Ipv4Net> {
    let large = (18..=31u8).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (64..=127u8)
        .flat_map(|second| (0..=255u8).map(move |third| (Ipv4Addr::new(10, second, third, 0), 24)));
    large
        .chain(small)
        .filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
}
