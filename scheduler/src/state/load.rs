//! What a container takes of its node, and what all containers of a node take together: what is set
//! aside for them, and the host's ports.
//!
//! What is set aside counts, whether or not it is used. Sums are wide enough never to be cut off, so
//! that what was added can be taken away again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::container::{ContainerSpec, Protocol, PublishMode};
use crate::model::task::{DesiredState, Task};

/// What one container takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Thousandths of a CPU.
    pub(crate) cpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Countable things of the node's own, by kind.
    pub(crate) generic: BTreeMap<String, u64>,
    pub(crate) ports: Vec<HostPort>,
}

/// A port of the host. No address is every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl Claim {
    /// Only ports in host mode belong to a node: the others are answered on every node.
    pub(crate) fn of(spec: &ContainerSpec) -> Self {
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

    pub(crate) fn is_empty(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.generic.is_empty() && self.ports.is_empty()
    }
}

/// What the containers of one node take together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) containers: u32,
    pub(crate) cpu: u128,
    pub(crate) memory: u128,
    pub(crate) generic: BTreeMap<String, u128>,
    /// In their order, each as often as it is taken.
    pub(crate) ports: Vec<HostPort>,
}

impl Load {
    pub(crate) fn add(&mut self, claim: &Claim) {
        self.containers += 1;
        self.cpu += u128::from(claim.cpu);
        self.memory += u128::from(claim.memory);
        for (kind, count) in &claim.generic {
            *self.generic.entry(kind.clone()).or_default() += u128::from(*count);
        }
        for port in &claim.ports {
            let at = self.ports.partition_point(|known| known < port);
            self.ports.insert(at, *port);
        }
    }

    /// Takes away what was added.
    pub(crate) fn remove(&mut self, claim: &Claim) {
        self.containers = self.containers.saturating_sub(1);
        self.cpu = self.cpu.saturating_sub(u128::from(claim.cpu));
        self.memory = self.memory.saturating_sub(u128::from(claim.memory));
        for (kind, count) in &claim.generic {
            if let Some(sum) = self.generic.get_mut(kind) {
                *sum = sum.saturating_sub(u128::from(*count));
                if *sum == 0 {
                    self.generic.remove(kind);
                }
            }
        }
        for port in &claim.ports {
            if let Ok(at) = self.ports.binary_search(port) {
                self.ports.remove(at);
            }
        }
    }
}

/// Whether it takes its part of its node: it lives, or is about to, and is not told to end.
pub(crate) fn holds_place(task: &Task) -> bool {
    !task.status.state.is_terminal() && task.desired <= DesiredState::Running
}

impl HostPort {
    /// Two containers cannot have both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
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
    fn what_was_added_can_be_taken_away() {
        let claim = |number: u16| Claim {
            cpu: u64::MAX,
            memory: u64::from(number),
            generic: [("gpu".to_owned(), u64::from(number))].into(),
            ports: vec![port(None, number)],
        };
        let mut load = Load::default();
        load.add(&claim(2));
        load.add(&claim(1));
        let two = load.clone();
        load.add(&claim(1));
        load.remove(&claim(1));
        assert_eq!(load, two);
        load.remove(&claim(1));
        load.remove(&claim(2));
        assert_eq!(load, Load::default());
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
