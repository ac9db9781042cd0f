//! What a name means, per network, and to whom. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use scheduler::assignment::AssignedNetwork;
use scheduler::model::id::NetworkId;

/// All names of all networks on this host.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<NetworkId, Zone>);

/// One network's names.
#[derive(Debug)]
struct Zone {
    name: String,
    subnets: Vec<IpNet>,
    names: BTreeMap<String, Vec<IpAddr>>,
    addresses: HashMap<IpAddr, String>,
}

/// What the networks know of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    Yes(T),
    /// It is ours to know, and there is no such thing.
    No,
    /// Somebody else may know.
    Elsewhere,
}

impl Table {
    pub(super) fn new(networks: &[AssignedNetwork]) -> Self {
        Self(
            networks
                .iter()
                .map(|network| (network.id.clone(), Zone::new(network)))
                .collect(),
        )
    }

    /// The addresses of a name in lower case without a final dot, on the first of these networks
    /// that knows it: `web`, or `web.shop_default` with the network's name.
    pub(super) fn addresses(&self, networks: &[NetworkId], name: &str) -> Known<&[IpAddr]> {
        let zones = || networks.iter().filter_map(|id| self.0.get(id));
        let found = zones().find_map(|zone| zone.names.get(name)).or_else(|| {
            zones().find_map(|zone| {
                let short = name.strip_suffix(zone.name.as_str())?.strip_suffix('.')?;
                zone.names.get(short)
            })
        });
        found.map_or(Known::Elsewhere, |addresses| Known::Yes(addresses))
    }

    /// The name of an address on one of these networks.
    pub(super) fn name(&self, networks: &[NetworkId], address: IpAddr) -> Known<String> {
        let mut zones = networks.iter().filter_map(|id| self.0.get(id));
        match zones.find(|zone| zone.subnets.iter().any(|it| it.contains(&address))) {
            // With the network's name, as Docker does, so that it leads back to the same address.
            Some(zone) => match zone.addresses.get(&address) {
                Some(name) => Known::Yes(format!("{name}.{}", zone.name)),
                None => Known::No,
            },
            None => Known::Elsewhere,
        }
    }
}

impl Zone {
    fn new(network: &AssignedNetwork) -> Self {
        let mut addresses: HashMap<IpAddr, String> = HashMap::new();
        for (name, meant) in &network.names {
            // A name of one address of its kind is that container's own. Of several the longest
            // says most: `shop-web-1` rather than `web`.
            let alike = |it: &IpAddr, other: &IpAddr| it.is_ipv4() == other.is_ipv4();
            let is_single =
                |it: &&IpAddr| meant.iter().filter(|other| alike(it, other)).count() == 1;
            for address in meant.iter().filter(is_single) {
                let best = addresses.entry(*address).or_default();
                if name.len() > best.len() && !is_short_id(name) {
                    best.clone_from(name);
                }
            }
        }
        addresses.retain(|_, name| !name.is_empty());
        Self {
            name: network.name.to_lowercase(),
            subnets: (std::iter::once(network.subnet))
                .chain(network.ipv6.map(|it| IpNet::V6(it.subnet)))
                .collect(),
            names: network.names.clone(),
            addresses,
        }
    }
}

/// Short container ids are names too, but say nothing to a person.
fn is_short_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
pub(super) mod tests;
