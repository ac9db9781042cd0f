//! What a container takes of its node: what is set aside for it, and the host's ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::container::{ContainerSpec, Protocol, PublishMode};

/// What one container takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// Thousandths of a CPU.
    pub(super) cpu: u64,
    /// Bytes.
    pub(super) memory: u64,
    /// Countable things of the node's own, by kind.
    pub(super) generic: BTreeMap<String, u64>,
    pub(super) ports: Vec<HostPort>,
}

/// A port of the host. No address is every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl Claim {
    /// Only ports in host mode belong to a node: the others are answered on every node.
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        let resources = &spec.resources;
        let fixed = spec.ports.iter().filter_map(|port| {
            let (first, last) = port.published?;
            let of_node = port.mode == PublishMode::Host && first == last;
            of_node.then_some(HostPort {
                address: port.host_ip.filter(|address| !address.is_unspecified()),
                port: first,
                protocol: port.protocol,
            })
        });
        Self {
            cpu: resources.cpu_reservation_millis.unwrap_or(0),
            memory: resources.memory_reservation.unwrap_or(0),
            generic: resources.generic_reservations.clone(),
            ports: fixed.collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.generic.is_empty() && self.ports.is_empty()
    }
}

impl HostPort {
    /// Two containers cannot have both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let everywhere = self.address.is_none() || other.address.is_none();
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere || self.address == other.address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn port(address: Option<[u8; 4]>, port: u16) -> HostPort {
        HostPort {
            address: address.map(|it| IpAddr::V4(Ipv4Addr::from(it))),
            port,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn an_address_is_part_of_a_port() {
        let everywhere = port(None, 80);
        let here = port(Some([127, 0, 0, 1]), 80);
        let there = port(Some([10, 0, 0, 1]), 80);
        assert!(everywhere.overlaps(&here) && here.overlaps(&everywhere));
        assert!(!here.overlaps(&there));
        assert!(!here.overlaps(&port(Some([127, 0, 0, 1]), 81)));
    }
}
