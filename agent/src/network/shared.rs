//! Ports that this node answers on for services, wherever their containers are.
//!
//!     client ── node:80 ──► a container of this node, which sees the client's address
//!                      └──► or, where there is none, one on another node: the packet leaves under
//!                           this node's own address on the network, so that the answer comes back
//!
//! A port is held as those of containers are (see [`ports`](super::ports)); while no container
//! serves, connections are refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use scheduler::assignment::SharedPort;
use scheduler::model::container::{Protocol, PublishMode, PublishedPort};

use super::ports::{Held, host_addresses_towards};
use super::{NetworkError, Networks, PortHolder, kernel};

/// A port of the host.
type Key = (Option<IpAddr>, u16, Protocol);

/// The ports that are wanted, and those of them that this node has.
#[derive(Default)]
pub(super) struct Shared {
    ports: Vec<SharedPort>,
    held: BTreeMap<Key, Vec<Held>>,
}

impl Shared {
    /// What an earlier agent answered on. None of it is held yet.
    pub(super) fn recorded(ports: Vec<SharedPort>) -> Self {
        Self {
            ports,
            held: BTreeMap::new(),
        }
    }

    /// All that are wanted.
    pub(super) fn wanted(&self) -> &[SharedPort] {
        &self.ports
    }

    /// Those that this node has.
    pub(super) fn ports(&self) -> impl Iterator<Item = &SharedPort> {
        self.ports
            .iter()
            .filter(|port| self.held.contains_key(&key(port)))
    }

    /// Aims what cannot be redirected at the containers that serve.
    pub(super) fn lead(&mut self) {
        for port in &self.ports {
            for held in self.held.get_mut(&key(port)).into_iter().flatten() {
                held.lead_to(&port.backends);
            }
        }
    }

    /// Whether the port is held on just these addresses.
    fn holds(&self, port: &SharedPort, addresses: &[IpAddr]) -> bool {
        let held = self.held.get(&key(port));
        held.is_some_and(|held| {
            held.iter()
                .map(|it| it.port.host_ip)
                .eq(addresses.iter().copied())
        })
    }

    pub(super) fn has(&self, port: &PublishedPort) -> bool {
        let Some(number) = port.shared() else {
            return false;
        };
        self.held
            .contains_key(&(port.host_ip, number, port.protocol))
    }
}

impl Networks {
    /// The ports that are answered on, as far as they are this node's.
    pub fn published(&self) -> Vec<SharedPort> {
        self.known().shared.wanted().to_vec()
    }

    /// Answers on these ports from now on, and on no other. A port that somebody else has is left
    /// out, said in the log, and tried again with the next call.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded, or the rules cannot be loaded.
    pub async fn publish(&self, ports: &[SharedPort]) -> Result<(), NetworkError> {
        if self.known().shared.ports == ports && self.has_all(ports) {
            return Ok(());
        }
        self.bind(ports);
        self.records
            .keep_published(ports)
            .map_err(kernel("record the ports of services"))?;
        self.change(|known| known.shared.ports = ports.to_vec())
            .await
    }

    /// Holds these ports and no other, as far as they are free.
    pub(super) fn bind(&self, ports: &[SharedPort]) {
        let _binding = self.binding();
        let is_wanted = |held: &Key| ports.iter().any(|port| key(port) == *held);
        self.known().shared.held.retain(|held, _| is_wanted(held));
        for port in ports {
            let addresses = self.answers_on(port);
            if self.known().shared.holds(port, &addresses) {
                continue;
            }
            // What is held already would be in the way.
            self.known().shared.held.remove(&key(port));
            match self.hold(&as_published(port), &addresses) {
                Ok(sockets) => {
                    self.known().shared.held.insert(key(port), sockets);
                }
                // A container that began while it was the only one: its own rule goes on.
                Err(NetworkError::PortInUse {
                    holder: PortHolder::Container(_),
                    ..
                }) => {}
                Err(error) => {
                    tracing::warn!(service = port.service, %error, "not published on this node");
                }
            }
        }
    }

    fn has_all(&self, ports: &[SharedPort]) -> bool {
        let has = |port| {
            let addresses = self.answers_on(port);
            self.known().shared.holds(port, &addresses)
        };
        ports.iter().all(has)
    }

    /// The host's addresses for a port: those of the kinds that its network has.
    fn answers_on(&self, port: &SharedPort) -> Vec<IpAddr> {
        let known = self.known();
        let network = known.networks.get(&port.network);
        let mut targets: Vec<IpAddr> = match network {
            Some(network) => network.gateways().collect(),
            None => port.backends.clone(),
        };
        // A network that is not here yet, and nobody serves there: most have IPv4.
        if targets.is_empty() {
            targets.push(Ipv4Addr::UNSPECIFIED.into());
        }
        // Refused before it came to this, as far as the file told.
        host_addresses_towards(&as_published(port), &targets).unwrap_or_default()
    }
}

fn key(port: &SharedPort) -> Key {
    (port.host_ip, port.port, port.protocol)
}

fn as_published(port: &SharedPort) -> PublishedPort {
    PublishedPort {
        host_ip: port.host_ip,
        published: Some((port.port, port.port)),
        target: port.target,
        protocol: port.protocol,
        mode: PublishMode::Ingress,
    }
}
