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
use crate::state::{State, Table};

/// What is told to all nodes, or lies ready to be picked for one. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) managers: Arc<[(NodeId, SocketAddr)]>,
    pub(super) authorities: Arc<[String]>,
    /// There is more than one node to reach.
    pub(super) is_spread: bool,
    pub(super) networks: Table<NetworkId, OnNetwork>,
    pub(super) entrances: Table<ServiceId, Entrance>,
    pub(super) volumes: Arc<BTreeMap<NodeId, Vec<AssignedVolume>>>,
}

/// What must be known on one network.
#[derive(Debug, Default, PartialEq)]
pub(super) struct OnNetwork {
    pub(super) meanings: Meanings,
    pub(super) endpoints: Vec<Held>,
}

/// What [`Shared`] is made of, by service.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: BTreeMap<ServiceId, Part>,
    /// Services with containers on a network, in whatever state, or with an address there.
    on_networks: BTreeMap<NetworkId, BTreeSet<ServiceId>>,
    /// Services with containers that join others, wherever those are.
    joining: BTreeSet<ServiceId>,
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
    /// Every node answers on the ports of these services.
    pub(super) entrances: BTreeSet<ServiceId>,
}

impl Parts {
    pub(super) fn read(state: &State) -> (Self, Shared) {
        let authorities = state.cluster.as_ref();
        let authorities = authorities.map(|cluster| cluster.certificate_authority.trusted());
        let mut shared = Shared {
            managers: managers(state).into(),
            authorities: authorities.unwrap_or_default().into(),
            is_spread: overlay::is_spread(state),
            volumes: Arc::new(volumes(state)),
            ..Shared::default()
        };
        let services = state.services.keys().cloned().collect();
        let networks = state.networks.keys().cloned().collect();
        let mut parts = Self::default();
        parts.update(&mut shared, state, &services, &networks);
        (parts, shared)
    }

    /// Services with containers on a network, or with an address there.
    pub(super) fn on(&self, network: &NetworkId) -> impl Iterator<Item = &ServiceId> {
        self.on_networks.get(network).into_iter().flatten()
    }

    /// Services with containers that join others: what they are told depends on those.
    pub(super) fn joining(&self) -> &BTreeSet<ServiceId> {
        &self.joining
    }

    /// Reads again what these services and networks are about.
    pub(super) fn update(
        &mut self,
        shared: &mut Shared,
        state: &State,
        services: &BTreeSet<ServiceId>,
        networks: &BTreeSet<NetworkId>,
    ) -> News {
        let mut news = News::default();
        let mut doubtful = networks.clone();
        for id in services {
            let row = state.services.get(id);
            if shared.set_entrance(id, row.and_then(|row| Entrance::of(state, row))) {
                news.entrances.insert(id.clone());
            }
            let part = row.map_or_else(Part::default, |row| Part::of(state, row));
            doubtful.extend(part.networks().cloned());
            doubtful.extend(self.set(id, row.map(|_| part)));
            if row.is_some_and(|row| joins(row)) {
                self.joining.insert(id.clone());
            } else {
                self.joining.remove(id);
            }
        }
        for id in doubtful {
            if self.read_network(shared, state, &id) || networks.contains(&id) {
                news.networks.insert(id);
            }
        }
        news
    }

    /// Returns the networks of the part before.
    fn set(&mut self, id: &ServiceId, part: Option<Part>) -> Vec<NetworkId> {
        let before = match part {
            Some(part) => self.parts.insert(id.clone(), part),
            None => self.parts.remove(id),
        };
        let networks: Vec<NetworkId> = before.iter().flat_map(Part::networks).cloned().collect();
        for network in &networks {
            if let Some(services) = self.on_networks.get_mut(network) {
                services.remove(id);
            }
        }
        for network in self.parts.get(id).into_iter().flat_map(Part::networks) {
            let services = self.on_networks.entry(network.clone()).or_default();
            services.insert(id.clone());
        }
        networks
    }

    /// Returns whether it is another than before.
    fn read_network(&mut self, shared: &mut Shared, state: &State, id: &NetworkId) -> bool {
        let row = state.networks.get(id);
        if row.is_none() && self.on(id).next().is_none() {
            self.on_networks.remove(id);
            return shared.networks.remove(id).is_some();
        }
        let parts = || self.on(id).filter_map(|service| self.parts.get(service));
        let meanings = Meanings::of(parts().filter_map(|part| part.names.get(id)));
        let mut endpoints = Vec::new();
        if shared.is_spread {
            let of_services = parts().filter_map(|part| part.endpoints.get(id));
            endpoints.extend(of_services.flatten().cloned());
            endpoints.extend(row.iter().flat_map(|row| overlay::of_nodes(state, row)));
            endpoints.sort();
            endpoints.dedup();
        }
        let next = OnNetwork {
            meanings,
            endpoints,
        };
        if shared.networks.get(id).is_some_and(|known| **known == next) {
            return false;
        }
        shared.networks.insert(id.clone(), Arc::new(next));
        true
    }
}

impl Shared {
    /// Returns whether it is another than before.
    fn set_entrance(&mut self, id: &ServiceId, entrance: Option<Entrance>) -> bool {
        if self.entrances.get(id).map(|it| &**it) == entrance.as_ref() {
            return false;
        }
        match entrance {
            Some(entrance) => self.entrances.insert(id.clone(), Arc::new(entrance)),
            None => self.entrances.remove(id),
        };
        true
    }
}

/// Whether what its containers are told depends on others.
fn joins(service: &Service) -> bool {
    let specs = service.versions.values().chain([&service.spec]);
    specs
        .into_iter()
        .any(|spec| spec.container.shares_with_others())
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
