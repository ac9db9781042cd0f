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

use super::ports::Held;
use super::{NetworkError, Networks, PortHolder, kernel};

/// A port of the host.
type Key = (Option<IpAddr>, u16, Protocol);

/// The ports that are wanted, and those of them that this node has.
#[derive(Default)]
pub(super) struct Shared {
    ports: Vec<SharedPort>,
    held: BTreeMap<Key, Held>,
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
            if self.known().shared.held.contains_key(&key(port)) {
                continue;
            }
            match self.hold(&as_published(port)) {
                Ok(socket) => {
                    self.known().shared.held.insert(key(port), socket);
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
        let known = self.known();
        ports
            .iter()
            .all(|port| known.shared.held.contains_key(&key(port)))
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

/// The host's address to answer on; IPv6 is refused when the port is held.
pub(super) fn host_address(port: &SharedPort) -> Ipv4Addr {
    match port.host_ip {
        Some(IpAddr::V4(address)) => address,
        Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
    }
}
