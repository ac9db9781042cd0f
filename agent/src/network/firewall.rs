//! What the packet filter must know, as sets; and the text that makes it so. Pure.
//!
//! The rules hardly change: they are a fixed skeleton of chains that look things up in sets and
//! maps, and a chain for each port that leads to several containers. A network or a published port
//! is a few elements in them, so that a change is as small as what has changed, and one transaction.
//!
//!     packet ─► raw ───────► prerouting ──────► forward ──────────────► postrouting
//!               forged       to a published     between our bridges     loopback, hairpin
//!               loopback     port: new target   and anything else:      and way out: new
//!                                               only what is listed     source address
//!
//! Traffic that touches none of our bridges is let through untouched. What one table accepts
//! another can still drop: a host firewall keeps its veto, and so does the `FORWARD` policy of a
//! Docker engine on the same machine, which must then be told to accept our bridges.
//!
//! Where bridged packets are filtered too (`net.bridge.bridge-nf-call-iptables`, a setting of the
//! whole host that Docker and Kubernetes switch on), a redirected packet is bridged instead of
//! routed. A neighbour then still reaches published ports, but a container does not reach its own,
//! nor, without inter-container traffic, a neighbour's.
//!
//! Packets of other nodes' clients take a way of their own: see [`ways`].
//!
//! The second table pins each container's port on its bridge to the container's own hardware and
//! IP addresses, so that nobody can speak in a neighbour's or the gateway's name, neither as the
//! sender nor (IPv6) by advertising an address of others. It also takes in what is sent to this
//! node's own address from other nodes, which is not that of the bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use scheduler::assignment::{AssignedOverlay, SharedPort};
use scheduler::model::container::Protocol;
use scheduler::model::id::{ContainerId, NetworkId};
use scheduler::model::network::mac_of;

use super::address::{mac_text, parse_mac};
use super::record::{ContainerRecord, InterfaceRecord, NetworkRecord};
use super::{overlay, ports};
use set::{Family, Set};
use skeleton::SKELETON;
pub(super) use ways::Ways;

mod set;
mod skeleton;
mod ways;

/// The sets of both tables and what is in them, and the chains that balance shared ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Firewall {
    sets: BTreeMap<Set, BTreeSet<String>>,
    /// Rule by name of its chain.
    chains: BTreeMap<String, String>,
    ways: Ways,
}

impl Firewall {
    /// What must hold for these networks, containers and ports of services.
    pub(super) fn of<'a>(
        networks: &BTreeMap<NetworkId, NetworkRecord>,
        containers: &BTreeMap<ContainerId, ContainerRecord>,
        shared: impl Iterator<Item = &'a SharedPort>,
        ways: Ways,
    ) -> Self {
        let mut firewall = Self {
            ways,
            ..Self::default()
        };
        for network in networks.values() {
            firewall.add_network(network);
        }
        for container in containers.values() {
            firewall.add_container(container);
        }
        for port in shared {
            firewall.add_shared(port);
        }
        firewall
    }

    /// One that needs everything of the kernel that any needs.
    pub(super) fn trial() -> Self {
        Self {
            ways: Ways::Kept,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    fn add(&mut self, set: Set, element: String) {
        self.sets.entry(set).or_default().insert(element);
    }

    fn add_network(&mut self, network: &NetworkRecord) {
        let bridge = &network.bridge;
        self.add(Set::Bridges, format!("\"{bridge}\""));
        self.add(Set::Same, format!("\"{bridge}\" . \"{bridge}\""));
        if network.inter_container {
            self.add(Set::Open, format!("\"{bridge}\" . \"{bridge}\""));
        }
        if network.internal {
            self.add(Set::Internal, format!("\"{bridge}\""));
        }
        for subnet in network.subnets() {
            let family = Family::of(subnet.addr());
            self.add(Set::Inside(family), subnet.to_string());
            self.add(Set::InsideToo(family), subnet.to_string());
            if family == Family::V6 {
                self.add(Set::BridgesV6, format!("\"{bridge}\""));
            }
            if network.masquerade && !network.internal {
                self.add(Set::Masquerade(family), subnet.to_string());
            }
        }
        if let Some(overlay) = &network.overlay {
            self.add_overlay(overlay);
            if let Some(tunnel) = &network.tunnel {
                self.add_ways(network, overlay, tunnel);
            }
        }
    }

    fn add_overlay(&mut self, overlay: &AssignedOverlay) {
        self.add(Set::Guarded, overlay::PORT.to_string());
        for remote in &overlay.remote {
            self.add(Set::Nodes(Family::of(remote.node)), remote.node.to_string());
            if let Some(own) = overlay.address_like(remote.address) {
                let family = Family::of(own);
                self.add(Set::Beyond(family), format!("{} : {own}", remote.address));
            }
        }
        if let Some(own) = overlay.address {
            self.add(Set::Own, mac_of(own));
        }
    }

    fn add_shared(&mut self, port: &SharedPort) {
        for address in ports::host_addresses(port.host_ip) {
            let family = Family::of(address);
            let alike = port.backends.iter().copied();
            let alike: Vec<IpAddr> = alike.filter(|it| Family::of(*it) == family).collect();
            if !alike.is_empty() {
                self.add_shared_on(port, address, &alike);
            }
        }
    }

    fn add_shared_on(&mut self, port: &SharedPort, address: IpAddr, backends: &[IpAddr]) {
        let SharedPort {
            port: number,
            protocol,
            target,
            ..
        } = *port;
        let family = Family::of(address);
        let start = match family {
            Family::V4 => format!("to_{}_{number}", protocol.as_str()),
            Family::V6 => format!("to6_{}_{number}", protocol.as_str()),
        };
        let chain = match address.is_unspecified() {
            true => start,
            false => format!("{start}_{}", address.to_string().replace(['.', ':'], "_")),
        };
        match address.is_unspecified() {
            true => self.add(
                Set::Shared(protocol, family),
                format!("{number} : goto {chain}"),
            ),
            false => self.add(
                Set::SharedOn(protocol, family),
                format!("{address} . {number} : goto {chain}"),
            ),
        }
        for backend in backends {
            self.publish(*backend, protocol, target);
        }
        let rule = balanced(protocol, family, backends, target);
        self.chains.insert(chain, rule);
    }

    /// Lets what was redirected to a port of a container pass.
    fn publish(&mut self, container: IpAddr, protocol: Protocol, port: u16) {
        let set = Set::Published(Family::of(container));
        self.add(set, format!("{container} . {} . {port}", protocol.as_str()));
    }

    fn add_container(&mut self, container: &ContainerRecord) {
        for interface in &container.interfaces {
            // Checked when the interface was made; a record that says otherwise was tampered with.
            if let Some(mac) = parse_mac(&interface.mac) {
                self.pin(interface, mac);
            }
        }
        for port in &container.ports {
            let Some(target) = container.target(port.host_ip) else {
                continue;
            };
            let family = Family::of(target);
            let to = format!("{target} . {}", port.target);
            match port.host_ip.is_unspecified() {
                true => self.add(
                    Set::Any(port.protocol, family),
                    format!("{} : {to}", port.port),
                ),
                false => self.add(
                    Set::On(port.protocol, family),
                    format!("{} . {} : {to}", port.host_ip, port.port),
                ),
            }
            self.publish(target, port.protocol, port.target);
        }
    }

    /// Lets an interface speak for its own addresses alone.
    fn pin(&mut self, interface: &InterfaceRecord, mac: [u8; 6]) {
        let veth = &interface.veth;
        self.add(Set::Veths, format!("\"{veth}\""));
        let from = format!("\"{veth}\" . {}", mac_text(mac));
        for address in interface.addresses(mac) {
            let set = Set::Pinned(Family::of(address));
            self.add(set, format!("{from} . {address}"));
            if let IpAddr::V6(address) = address {
                self.add(Set::Told, format!("{from} . {:#034x}", address.to_bits()));
            }
        }
    }

    /// The text that makes everything anew, whatever was there.
    pub(super) fn create(&self, table: &str) -> String {
        let mut text = self.destroy(table);
        text.push_str(&SKELETON.replace("TABLE", table));
        if self.ways == Ways::Kept {
            text.push_str(&ways::SKELETON.replace("TABLE", table));
        }
        for (chain, rule) in &self.chains {
            write_chain(&mut text, table, chain, rule);
        }
        for (set, elements) in &self.sets {
            write_elements(&mut text, "add", table, *set, elements.iter());
        }
        text
    }

    /// The text that removes all tables, whether they exist or not.
    pub(super) fn destroy(&self, table: &str) -> String {
        let families: &[&str] = match self.ways {
            Ways::Kept => &["inet", "bridge", "ip", "ip6"],
            Ways::Lost => &["inet", "bridge"],
        };
        let mut text = String::new();
        for family in families {
            // Deleting what does not exist is an error; adding what exists is none.
            let _ = writeln!(
                text,
                "add table {family} {table}\ndelete table {family} {table}"
            );
        }
        text
    }

    /// The text that leads from here to `wanted`; `None` when they are the same.
    pub(super) fn change(&self, wanted: &Self, table: &str) -> Option<String> {
        let none = BTreeSet::new();
        let mut text = String::new();
        let changed = |(chain, rule): &(&String, &String)| self.chains.get(*chain) != Some(*rule);
        for (chain, rule) in wanted.chains.iter().filter(changed) {
            write_chain(&mut text, table, chain, rule);
        }
        // What goes comes first: an element may come back with another value.
        for (verb, from, to) in [("delete", self, wanted), ("add", wanted, self)] {
            for (set, from) in &from.sets {
                let to = to.sets.get(set).unwrap_or(&none);
                write_elements(&mut text, verb, table, *set, from.difference(to));
            }
        }
        for chain in self
            .chains
            .keys()
            .filter(|it| !wanted.chains.contains_key(*it))
        {
            let _ = writeln!(
                text,
                "flush chain inet {table} {chain}\ndelete chain inet {table} {chain}"
            );
        }
        (!text.is_empty()).then_some(text)
    }
}

/// One after the other, from the first on. The newline before the brace: nft 1.0.6 takes the last
/// element and the brace for one word.
fn balanced(protocol: Protocol, family: Family, backends: &[IpAddr], port: u16) -> String {
    let to = format!(
        "meta l4proto {} dnat {} to",
        protocol.as_str(),
        family.keyword()
    );
    if let [only] = backends {
        return format!("{to} {}", SocketAddr::new(*only, port));
    }
    let choices: Vec<String> = (backends.iter().enumerate())
        .map(|(i, backend)| format!("{i} : {backend} . {port}"))
        .collect();
    format!(
        "{to} numgen inc mod {} map {{ {}\n}}",
        choices.len(),
        choices.join(", ")
    )
}

fn write_chain(text: &mut String, table: &str, chain: &str, rule: &str) {
    let _ = writeln!(
        text,
        "add chain inet {table} {chain}\nflush chain inet {table} {chain}\nadd rule inet {table} {chain} {rule}"
    );
}

fn write_elements<'a>(
    text: &mut String,
    verb: &str,
    table: &str,
    set: Set,
    elements: impl Iterator<Item = &'a String>,
) {
    let elements: Vec<&str> = elements.map(String::as_str).collect();
    if !elements.is_empty() {
        let (family, name) = (set.family(), set.name());
        let _ = writeln!(
            text,
            "{verb} element {family} {table} {name} {{ {} }}",
            elements.join(", ")
        );
    }
}

#[cfg(test)]
mod tests;
