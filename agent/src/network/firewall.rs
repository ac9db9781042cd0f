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
//! The second table pins each container's port on its bridge to the container's own hardware and
//! IPv4 address, so that nobody can speak in a neighbour's or the gateway's name. It also takes in
//! what is sent to this node's own address from other nodes, which is not that of the bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use scheduler::assignment::{AssignedOverlay, SharedPort};
use scheduler::model::container::Protocol;
use scheduler::model::id::{ContainerId, NetworkId};
use scheduler::model::network::mac_of;

use super::address::{mac_text, parse_mac};
use super::record::{ContainerRecord, NetworkRecord};
use super::{overlay, shared};

/// The sets of both tables and what is in them, and the chains that balance shared ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Firewall {
    sets: BTreeMap<Set, BTreeSet<String>>,
    /// Rule by name of its chain.
    chains: BTreeMap<String, String>,
}

/// A set or map of the skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    /// Our bridges.
    Bridges,
    /// Those of them with no way in or out.
    Internal,
    /// Bridge and the same bridge: what the host passes back to where it came from.
    Same,
    /// Those of them where every such packet may pass, not only to published ports.
    Open,
    /// Subnets that leave under the host's address.
    Masquerade,
    /// Container address, protocol and port that are published.
    Published,
    /// Port of any address of the host → container.
    TcpAny,
    UdpAny,
    /// Address and port of the host → container.
    TcpOn,
    UdpOn,
    /// Port of any address of the host → the chain that chooses a container of a service.
    TcpShared,
    UdpShared,
    /// Address and port of the host → the same.
    TcpSharedOn,
    UdpSharedOn,
    /// Address on another node → this node's own address on that network.
    Beyond,
    /// Ports of tunnels, and the nodes that may speak to them.
    Guarded,
    Nodes,
    /// Containers' ports of our bridges (second table).
    Veths,
    /// Those with the addresses that may speak there (second table).
    Pinned,
    /// Hardware addresses of this node's own on networks that span nodes (second table).
    Own,
}

impl Set {
    const ALL: [Self; 20] = [
        Self::Bridges,
        Self::Internal,
        Self::Same,
        Self::Open,
        Self::Masquerade,
        Self::Published,
        Self::TcpAny,
        Self::UdpAny,
        Self::TcpOn,
        Self::UdpOn,
        Self::TcpShared,
        Self::UdpShared,
        Self::TcpSharedOn,
        Self::UdpSharedOn,
        Self::Beyond,
        Self::Guarded,
        Self::Nodes,
        Self::Veths,
        Self::Pinned,
        Self::Own,
    ];

    fn family(self) -> &'static str {
        match self {
            Self::Veths | Self::Pinned | Self::Own => "bridge",
            _ => "inet",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Internal => "internal",
            Self::Same => "same",
            Self::Open => "open",
            Self::Masquerade => "masquerade_from",
            Self::Published => "published",
            Self::TcpAny => "tcp_any",
            Self::UdpAny => "udp_any",
            Self::TcpOn => "tcp_on",
            Self::UdpOn => "udp_on",
            Self::TcpShared => "tcp_shared",
            Self::UdpShared => "udp_shared",
            Self::TcpSharedOn => "tcp_shared_on",
            Self::UdpSharedOn => "udp_shared_on",
            Self::Beyond => "beyond",
            Self::Guarded => "guarded",
            Self::Nodes => "nodes",
            Self::Veths => "veths",
            Self::Pinned => "pinned",
            Self::Own => "own",
        }
    }
}

impl Firewall {
    /// What must hold for these networks, containers and ports of services.
    pub(super) fn of<'a>(
        networks: &BTreeMap<NetworkId, NetworkRecord>,
        containers: &BTreeMap<ContainerId, ContainerRecord>,
        shared: impl Iterator<Item = &'a SharedPort>,
    ) -> Self {
        let mut firewall = Self::default();
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

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    fn add(&mut self, set: Set, element: String) {
        self.sets.entry(set).or_default().insert(element);
    }

    fn add_network(&mut self, network: &NetworkRecord) {
        let NetworkRecord { bridge, subnet, .. } = network;
        self.add(Set::Bridges, format!("\"{bridge}\""));
        self.add(Set::Same, format!("\"{bridge}\" . \"{bridge}\""));
        if network.inter_container {
            self.add(Set::Open, format!("\"{bridge}\" . \"{bridge}\""));
        }
        if network.internal {
            self.add(Set::Internal, format!("\"{bridge}\""));
        } else if network.masquerade {
            self.add(Set::Masquerade, subnet.to_string());
        }
        if let Some(overlay) = &network.overlay {
            self.add_overlay(overlay);
        }
    }

    fn add_overlay(&mut self, overlay: &AssignedOverlay) {
        self.add(Set::Guarded, overlay::PORT.to_string());
        for remote in &overlay.remote {
            if let IpAddr::V4(node) = remote.node {
                self.add(Set::Nodes, node.to_string());
            }
            if let Some(own) = overlay.address {
                self.add(Set::Beyond, format!("{} : {own}", remote.address));
            }
        }
        if let Some(own) = overlay.address {
            self.add(Set::Own, mac_of(own));
        }
    }

    fn add_shared(&mut self, port: &SharedPort) {
        if port.backends.is_empty() {
            return;
        }
        let (any, on) = match port.protocol {
            Protocol::Tcp => (Set::TcpShared, Set::TcpSharedOn),
            Protocol::Udp => (Set::UdpShared, Set::UdpSharedOn),
        };
        let protocol = port.protocol.as_str();
        let address = shared::host_address(port);
        let chain = match address {
            Ipv4Addr::UNSPECIFIED => format!("to_{protocol}_{}", port.port),
            address => {
                let address = address.to_string().replace('.', "_");
                format!("to_{protocol}_{}_{address}", port.port)
            }
        };
        match address {
            Ipv4Addr::UNSPECIFIED => self.add(any, format!("{} : goto {chain}", port.port)),
            address => self.add(on, format!("{address} . {} : goto {chain}", port.port)),
        }
        for backend in &port.backends {
            self.add(
                Set::Published,
                format!("{backend} . {protocol} . {}", port.target),
            );
        }
        self.chains.insert(chain, balanced(port));
    }

    fn add_container(&mut self, container: &ContainerRecord) {
        for interface in &container.interfaces {
            // Checked when the interface was made; a record that says otherwise was tampered with.
            let Some(mac) = parse_mac(&interface.mac).map(mac_text) else {
                continue;
            };
            let veth = &interface.veth;
            self.add(Set::Veths, format!("\"{veth}\""));
            self.add(
                Set::Pinned,
                format!("\"{veth}\" . {mac} . {}", interface.address),
            );
        }
        let Some(target) = container.forward_to else {
            return;
        };
        for port in &container.ports {
            let (any, on) = match port.protocol {
                Protocol::Tcp => (Set::TcpAny, Set::TcpOn),
                Protocol::Udp => (Set::UdpAny, Set::UdpOn),
            };
            let to = format!("{target} . {}", port.target);
            match port.host_ip {
                Ipv4Addr::UNSPECIFIED => self.add(any, format!("{} : {to}", port.port)),
                address => self.add(on, format!("{address} . {} : {to}", port.port)),
            }
            self.add(
                Set::Published,
                format!("{target} . {} . {}", port.protocol.as_str(), port.target),
            );
        }
    }

    /// The text that makes everything anew, whatever was there.
    pub(super) fn create(&self, table: &str) -> String {
        let mut text = destroy(table);
        text.push_str(&SKELETON.replace("TABLE", table));
        for (chain, rule) in &self.chains {
            write_chain(&mut text, table, chain, rule);
        }
        for set in Set::ALL {
            if let Some(elements) = self.sets.get(&set) {
                write_elements(&mut text, "add", table, set, elements.iter());
            }
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
            for set in Set::ALL {
                let from = from.sets.get(&set).unwrap_or(&none);
                let to = to.sets.get(&set).unwrap_or(&none);
                write_elements(&mut text, verb, table, set, from.difference(to));
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

/// The text that removes both tables, whether they exist or not.
pub(super) fn destroy(table: &str) -> String {
    let mut text = String::new();
    for family in ["inet", "bridge"] {
        // Deleting what does not exist is an error; adding what exists is none.
        let _ = writeln!(
            text,
            "add table {family} {table}\ndelete table {family} {table}"
        );
    }
    text
}

/// One after the other, from the first on. The newline before the brace: nft 1.0.6 takes the last
/// element and the brace for one word.
fn balanced(port: &SharedPort) -> String {
    let protocol = port.protocol.as_str();
    let target = |backend: &Ipv4Addr| format!("{backend} . {}", port.target);
    if let [only] = port.backends.as_slice() {
        return format!("meta l4proto {protocol} dnat ip to {only}:{}", port.target);
    }
    let backends = port.backends.iter().enumerate();
    let choices: Vec<String> = backends
        .map(|(i, it)| format!("{i} : {}", target(it)))
        .collect();
    format!(
        "meta l4proto {protocol} dnat ip to numgen inc mod {} map {{ {}\n}}",
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

// `priority filter - 5` puts our decision before the host's own chains, which can still drop.
const SKELETON: &str = r#"table inet TABLE {
	set bridges { type ifname; }
	set internal { type ifname; }
	set same { type ifname . ifname; }
	set open { type ifname . ifname; }
	set masquerade_from { type ipv4_addr; flags interval; }
	set published { type ipv4_addr . inet_proto . inet_service; }
	map tcp_any { type inet_service : ipv4_addr . inet_service; }
	map udp_any { type inet_service : ipv4_addr . inet_service; }
	map tcp_on { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
	map udp_on { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
	map tcp_shared { type inet_service : verdict; }
	map udp_shared { type inet_service : verdict; }
	map tcp_shared_on { type ipv4_addr . inet_service : verdict; }
	map udp_shared_on { type ipv4_addr . inet_service : verdict; }
	map beyond { type ipv4_addr : ipv4_addr; }
	set guarded { type inet_service; }
	set nodes { type ipv4_addr; }

	chain raw {
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip daddr 127.0.0.0/8 drop
		iifname @bridges ip saddr 127.0.0.0/8 drop
	}
	chain publish {
		meta l4proto tcp dnat ip to ip daddr . tcp dport map @tcp_on
		meta l4proto tcp dnat ip to tcp dport map @tcp_any
		meta l4proto udp dnat ip to ip daddr . udp dport map @udp_on
		meta l4proto udp dnat ip to udp dport map @udp_any
		ip daddr . tcp dport vmap @tcp_shared_on
		tcp dport vmap @tcp_shared
		ip daddr . udp dport vmap @udp_shared_on
		udp dport vmap @udp_shared
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr != 127.0.0.0/8 fib daddr type local jump publish
	}
	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump publish
	}
	chain input {
		type filter hook input priority filter - 5; policy accept;
		udp dport @guarded ip saddr != @nodes drop
	}
	chain forward {
		type filter hook forward priority filter - 5; policy accept;
		iifname != @bridges oifname != @bridges accept
		meta nfproto ipv6 drop
		ct state established,related accept
		ct state invalid drop
		iifname . oifname @open accept
		iifname @internal drop
		oifname @internal drop
		ct status dnat ip daddr . meta l4proto . th dport @published accept
		iifname @bridges oifname != @bridges accept
		drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat snat ip to ip daddr map @beyond
		oifname @bridges fib saddr type local snat ip to ip daddr map @beyond
		ip saddr 127.0.0.0/8 oifname @bridges masquerade
		ct status dnat iifname . oifname @same masquerade
		ip saddr @masquerade_from oifname != @bridges masquerade
	}
}
table bridge TABLE {
	set veths { type ifname; }
	set pinned { type ifname . ether_addr . ipv4_addr; }
	set own { type ether_addr; }

	chain prerouting {
		type filter hook prerouting priority filter; policy accept;
		ether daddr @own meta pkttype set host
		iifname != @veths accept
		ether type ip iifname . ether saddr . ip saddr @pinned accept
		ether type arp iifname . ether saddr . arp saddr ip @pinned accept
		drop
	}
}
"#;

#[cfg(test)]
mod tests;
