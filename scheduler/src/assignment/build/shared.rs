//! What nodes are told in common: read off the state once, not once for each node, and only where
//! something has changed.
//!
//!     service ─► Part ┐
//!     service ─► Part ┼─► Network: names and endpoints ─► every node that is on it
//!     service ─► Part ┘

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::names::{self, Meanings};
use super::overlay::{self, Entrance, Held};
use crate::assignment::AssignedVolume;
use crate::model::id::{NetworkId, NodeId, ServiceId};
use crate::model::node::Role;
use crate::model::service::Service;
use crate::state::State;

/// What is told to all nodes, or lies ready to be picked for one.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) managers: Vec<(NodeId, SocketAddr)>,
    pub(super) authorities: Vec<String>,
    /// There is more than one node to reach.
    pub(super) is_spread: bool,
    pub(super) networks: BTreeMap<NetworkId, OnNetwork>,
    pub(super) entrances: BTreeMap<ServiceId, Entrance>,
    pub(super) volumes: BTreeMap<NodeId, Vec<AssignedVolume>>,
    parts: BTreeMap<ServiceId, Part>,
}

/// What must be known on one network.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OnNetwork {
    pub(super) meanings: Meanings,
    pub(super) endpoints: Vec<Held>,
    /// Services with containers on it, in whatever state.
    pub(super) services: BTreeSet<ServiceId>,
}

/// What one service adds.
#[derive(Debug, Default, PartialEq)]
struct Part {
    networks: BTreeSet<NetworkId>,
    names: BTreeMap<NetworkId, names::Table>,
    endpoints: BTreeMap<NetworkId, Vec<Held>>,
}

/// What is told otherwise than before.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) networks: BTreeSet<NetworkId>,
    /// Every node answers on the ports.
    pub(super) entrances: bool,
}

impl Shared {
    pub fn read(state: &State) -> Self {
        let mut shared = Self {
            managers: managers(state),
            authorities: (state.cluster.as_ref())
                .map(|cluster| cluster.certificate_authority.trusted())
                .unwrap_or_default(),
            is_spread: overlay::is_spread(state),
            volumes: volumes(state),
            ..Self::default()
        };
        let services = state.services.keys().cloned().collect();
        let networks = state.networks.keys().cloned().collect();
        shared.update(state, &services, &networks);
        shared
    }

    /// Reads again what these services and networks are about.
    pub(super) fn update(
        &mut self,
        state: &State,
        services: &BTreeSet<ServiceId>,
        networks: &BTreeSet<NetworkId>,
    ) -> News {
        let mut news = News::default();
        let mut doubtful = networks.clone();
        for id in services {
            let row = state.services.get(id);
            let part = row.map_or_else(Part::default, |row| Part::of(state, row));
            let entrance = row.and_then(|row| Entrance::of(state, row));
            news.entrances |= self.entrances.get(id) != entrance.as_ref();
            match entrance {
                Some(entrance) => drop(self.entrances.insert(id.clone(), entrance)),
                None => drop(self.entrances.remove(id)),
            }
            doubtful.extend(part.networks().cloned());
            let before = match row {
                Some(_) => self.parts.insert(id.clone(), part),
                None => self.parts.remove(id),
            };
            doubtful.extend(before.iter().flat_map(Part::networks).cloned());
            for network in before.iter().flat_map(Part::networks) {
                if let Some(known) = self.networks.get_mut(network) {
                    known.services.remove(id);
                }
            }
            for network in self.parts.get(id).into_iter().flat_map(Part::networks) {
                let known = self.networks.entry(network.clone()).or_default();
                known.services.insert(id.clone());
            }
        }
        for id in doubtful {
            self.read_network(state, &id);
            news.networks.insert(id);
        }
        news
    }

    fn read_network(&mut self, state: &State, id: &NetworkId) {
        let services = self.networks.remove(id).unwrap_or_default().services;
        let row = state.networks.get(id);
        if row.is_none() && services.is_empty() {
            return;
        }
        let parts = || {
            services
                .iter()
                .filter_map(|service| self.parts.get(service))
        };
        let meanings = Meanings::of(parts().filter_map(|part| part.names.get(id)));
        let mut endpoints = Vec::new();
        if self.is_spread {
            let of_services = parts().filter_map(|part| part.endpoints.get(id));
            endpoints.extend(of_services.flatten().cloned());
            endpoints.extend(row.iter().flat_map(|row| overlay::of_nodes(state, row)));
            endpoints.sort();
            endpoints.dedup();
        }
        let known = OnNetwork {
            meanings,
            endpoints,
            services,
        };
        self.networks.insert(id.clone(), known);
    }
}

impl Part {
    fn of(state: &State, service: &Arc<Service>) -> Self {
        let tasks = state.service_tasks(&service.id);
        let places = tasks.flat_map(|task| &task.attachments);
        Self {
            networks: places.map(|place| place.network.clone()).collect(),
            names: names::of(state, service),
            endpoints: overlay::endpoints(state, &service.id),
        }
    }

    /// A virtual address is there before the first container.
    fn networks(&self) -> impl Iterator<Item = &NetworkId> {
        self.networks.iter().chain(self.names.keys())
    }
}

/// The managers that can be reached, in the order of their identifiers.
fn managers(state: &State) -> Vec<(NodeId, SocketAddr)> {
    if state.cluster.is_none() {
        return Vec::new();
    }
    let nodes = state.nodes.values();
    nodes
        .filter(|node| node.role == Role::Manager)
        .filter_map(|node| Some((node.id.clone(), node.address?)))
        .collect()
}

pub(super) fn volumes(state: &State) -> BTreeMap<NodeId, Vec<AssignedVolume>> {
    let mut volumes: BTreeMap<NodeId, Vec<AssignedVolume>> = BTreeMap::new();
    for volume in state.volumes.values() {
        if let Some(node) = &volume.node {
            let of_node = volumes.entry(node.clone()).or_default();
            of_node.push(AssignedVolume {
                spec: volume.spec.clone(),
                remove: volume.removing,
            });
        }
    }
    volumes
}
