//! Clients of other nodes, seen under their own addresses.
//!
//!      client ──► entry node ══ tunnel ══► this node ──► container
//!                 new target,              remembers by      sees the
//!                 own sender's MAC         which node        client
//!                 address                  it came
//!      client ◄── old target ◄══ tunnel ══ sends the ◄────── answers
//!                 back                     answer there      the client
//!
//! On the entry node a packet of somebody outside, redirected to a container on another node, keeps
//! its source. It goes out under the hardware address of the entry node's own address, which says
//! at the other end who it was; everything else leaves a bridge under the gateway's, which is the
//! same on all nodes.
//!
//! At the other end it is not bridged to the container but taken in, so that the connection is
//! tracked: with a mark that stands for the entry node, and in a zone of that node's, so that one
//! client who comes by two nodes with the same port is two connections (the second then gets
//! another port, not another address). Answers are sent to the entry node instead of being routed.
//!
//! All of it works by address, so nothing is remembered here, and an agent that starts anew finds
//! the same marks in connections that went on meanwhile.

use scheduler::assignment::{AssignedOverlay, Entry};
use scheduler::model::network::mac_of;
use sha2::{Digest, Sha256};

use super::super::record::NetworkRecord;
use super::Firewall;
use super::set::{Family, Set};

/// Whether this host's kernel can do its part for clients of other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Ways {
    Kept,
    #[default]
    Lost,
}

/// The tables that send answers back. `dup` sends a copy to another router; the packet itself ends.
pub(super) const SKELETON: &str = r#"table ip TABLE {
	set ways { type mark; }
	map back { type mark : ipv4_addr; }

	chain back {
		type filter hook prerouting priority -95; policy accept;
		ct direction reply ct mark @ways jump send
	}
	chain send {
		dup to ct mark map @back
		drop
	}
}
table ip6 TABLE {
	set ways { type mark; }
	map back { type mark : ipv6_addr; }

	chain back {
		type filter hook prerouting priority -95; policy accept;
		ct direction reply ct mark @ways jump send
	}
	chain send {
		dup to ct mark map @back
		drop
	}
}
"#;

impl Firewall {
    /// `tunnel` is the name of the interface through which the other nodes' packets come.
    pub(super) fn add_ways(
        &mut self,
        network: &NetworkRecord,
        overlay: &AssignedOverlay,
        tunnel: &str,
    ) {
        let Some(own) = overlay.address else {
            return;
        };
        self.add(Set::OwnOf, format!("\"{tunnel}\" : {}", mac_of(own)));
        for remote in overlay.remote.iter().filter(|it| it.keeps_clients) {
            let set = Set::Direct(Family::of(remote.address));
            self.add(set, remote.address.to_string());
        }
        if self.ways == Ways::Lost {
            return;
        }
        let gateway = mac_of(network.gateway);
        self.add(Set::Gateways, format!("\"{tunnel}\" : {gateway}"));
        for entry in &overlay.entries {
            self.add_entry(network, entry, tunnel);
        }
    }

    fn add_entry(&mut self, network: &NetworkRecord, entry: &Entry, tunnel: &str) {
        let mac = mac_of(entry.address);
        let Way { mark, zone } = Way::of(network, entry);
        let from = format!("\"{}\" . {mac}", network.bridge);
        self.add(Set::Entries, format!("\"{tunnel}\" . {mac}"));
        self.add(Set::Marks, format!("{from} : {mark:#010x}"));
        self.add(Set::Zones, format!("{from} : {zone}"));
        self.add(Set::Ways, format!("{mark:#010x}"));
        let beside = entry.ipv6.map(Into::into);
        for address in [Some(entry.address), beside].into_iter().flatten() {
            let family = Family::of(address);
            self.add(Set::WaysOf(family), format!("{mark:#010x}"));
            self.add(Set::Back(family), format!("{mark:#010x} : {address}"));
        }
    }
}

/// What tells connections by one entry node from all others.
struct Way {
    /// Not zero, which is no mark.
    mark: u32,
    /// Not zero, which is everybody's zone.
    zone: u16,
}

impl Way {
    fn of(network: &NetworkRecord, entry: &Entry) -> Self {
        let hash = Sha256::digest(format!("{} {}", network.id, entry.address));
        let mark = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let zone = u16::from_be_bytes([hash[4], hash[5]]);
        Self {
            mark: mark.max(1),
            zone: zone.max(1),
        }
    }
}
