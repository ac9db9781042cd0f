//! Chooses subnets: Docker's, as far as neither hosts nor other networks use them.
//!
//!     172.17/16 (the network `bridge`), 172.18/16 … 172.31/16, then 10.64.0/24 … 10.127.255/24

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::state::State;

/// The first candidate that overlaps nothing known.
pub fn choose(state: &State) -> Option<Ipv4Net> {
    let taken = taken(state);
    candidates().find(|subnet| !taken.iter().any(|other| overlap(subnet, other)))
}

/// The one that Docker users expect for the network `bridge`, or another.
pub fn choose_for_bridge(state: &State) -> Option<Ipv4Net> {
    let usual = Ipv4Net::new(Ipv4Addr::new(172, 17, 0, 0), 16).ok()?;
    let taken = taken(state);
    if taken.iter().any(|other| overlap(&usual, other)) {
        return choose(state);
    }
    Some(usual)
}

/// Whether two networks have an address in common.
pub fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// A default route overlaps everything and says nothing.
fn taken(state: &State) -> Vec<Ipv4Net> {
    let routes = state
        .nodes
        .values()
        .flat_map(|node| &node.description.host_routes);
    let networks = state.networks.values().map(|network| &network.subnet);
    routes
        .filter(|route| route.prefix_len() > 0)
        .chain(networks)
        .copied()
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
