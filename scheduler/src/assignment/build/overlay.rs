//! What lies on other nodes: the ends of a network's tunnels, and the containers behind a port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::spec_of;
use crate::assignment::{AssignedOverlay, Entry, RemoteEndpoint, SharedPort};
use crate::model::container::{NetworkMode, PublishedPort};
use crate::model::id::{NetworkId, NodeId, ServiceId};
use crate::model::network::{Network, mac_of};
use crate::model::node::{Node, NodeStatus};
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task};
use crate::reconcile::slot;
use crate::state::{State, is_on_node};

/// Whether there is more than one node to reach.
pub(crate) fn is_spread(state: &State) -> bool {
    let mut addresses = state.nodes.values().filter(|node| node.address.is_some());
    addresses.nth(1).is_some()
}

/// An endpoint, and the node that has it.
pub(super) type Held = (RemoteEndpoint, NodeId);

/// What of a service lies where on each network. Containers that are only prepared are in it too, so
/// that the way to them is there before they are.
pub(super) fn endpoints(state: &State, service: &ServiceId) -> BTreeMap<NetworkId, Vec<Held>> {
    let mut endpoints: BTreeMap<NetworkId, Vec<Held>> = BTreeMap::new();
    for task in state.service_tasks(service).filter(|task| is_there(task)) {
        for place in &task.attachments {
            let Some(node) = &task.node else { continue };
            let of_network = endpoints.entry(place.network.clone()).or_default();
            let held = |address| held(state, address, place.mac.clone(), node);
            of_network.extend(place.addresses().filter_map(held));
        }
    }
    endpoints
}

/// The addresses that the nodes themselves have on a network.
pub(super) fn of_nodes<'a>(
    state: &'a State,
    network: &'a Network,
) -> impl Iterator<Item = Held> + 'a {
    let nodes = network.node_addresses.iter();
    nodes.flat_map(|(node, address)| {
        let beside = network.node_addresses_ipv6.get(node);
        let addresses = std::iter::once(*address).chain(beside.map(|it| IpAddr::V6(*it)));
        addresses.filter_map(|it| held(state, it, mac_of(*address), node))
    })
}

fn held(state: &State, address: IpAddr, mac: String, node: &NodeId) -> Option<Held> {
    let endpoint = RemoteEndpoint {
        address,
        mac,
        node: end_of(state, node)?,
        keeps_clients: keeps_clients(state, node),
    };
    Some((endpoint, node.clone()))
}

/// The tunnels of a network from one node.
pub(super) fn overlay(
    state: &State,
    node: &NodeId,
    network: &Network,
    endpoints: &[Held],
) -> Option<AssignedOverlay> {
    if network.vni == 0 {
        return None;
    }
    let local = end_of(state, node)?;
    let elsewhere = endpoints.iter().filter(|(_, holder)| holder != node);
    let mut remote: Vec<_> = elsewhere.map(|(endpoint, _)| endpoint.clone()).collect();
    remote.dedup();
    let others = network
        .node_addresses
        .iter()
        .filter(|(other, _)| *other != node);
    let entries = others.map(|(other, address)| Entry {
        address: *address,
        ipv6: network.node_addresses_ipv6.get(other).copied(),
    });
    Some(AssignedOverlay {
        vni: network.vni,
        local,
        address: network.node_addresses.get(node).copied(),
        ipv6: network.node_addresses_ipv6.get(node).copied(),
        remote,
        entries: entries.collect(),
    })
}

fn keeps_clients(state: &State, node: &NodeId) -> bool {
    let node = state.nodes.get(node);
    node.is_some_and(|node| node.description.keeps_clients)
}

fn end_of(state: &State, node: &NodeId) -> Option<IpAddr> {
    Some(state.nodes.get(node)?.address?.ip())
}

fn is_there(task: &Task) -> bool {
    is_on_node(task) && !task.status.state.is_terminal()
}

/// Whether the nodes answer on the ports of a service for its containers. In a cluster they do for
/// every service: its only container may be on any node, and may move. One that began before there
/// was a cluster keeps its port, and its node leaves that to it.
pub(super) fn shares_ports(state: &State, service: &Service) -> bool {
    let in_cluster = || state.cluster.is_some() || is_spread(state);
    !service.is_standalone() && (service.shares_ports() || in_cluster())
}

/// A service with published ports that any node may answer on.
#[derive(Debug, PartialEq)]
pub(super) struct Entrance {
    service: Arc<Service>,
    network: NetworkId,
    /// The containers that serve, with their addresses on the network, and their nodes.
    serving: Vec<(IpAddr, NodeId)>,
}

/// The ports that one node answers on for services: with its own containers, if it has any.
pub(super) fn published<'a>(
    entrances: impl Iterator<Item = &'a Entrance>,
    node: &NodeId,
) -> Vec<SharedPort> {
    let ports = entrances.flat_map(|it| it.ports(node));
    let mut published: Vec<SharedPort> = ports.collect();
    published.sort();
    published
}

impl Entrance {
    /// The way in to a service, if it has one.
    pub(super) fn of(state: &State, service: &Arc<Service>) -> Option<Self> {
        let ports = &service.spec.container.ports;
        let open = service.removal.is_none()
            && ports.iter().any(PublishedPort::is_shareable)
            && shares_ports(state, service);
        let network = way_in(state, service).filter(|_| open)?;
        Some(Self {
            service: service.clone(),
            network: network.clone(),
            serving: serving(state, service, network),
        })
    }

    pub(super) fn network(&self) -> &NetworkId {
        &self.network
    }

    pub(super) fn ports(&self, node: &NodeId) -> Vec<SharedPort> {
        let on = |here: bool| -> Vec<IpAddr> {
            let serving = self.serving.iter();
            let serving = serving.filter(|(_, holder)| (holder == node) == here);
            serving.map(|(address, _)| *address).collect()
        };
        let here = on(true);
        let backends = if here.is_empty() { on(false) } else { here };
        let shared = |port: &PublishedPort| {
            Some(SharedPort {
                service: self.service.full_name(),
                host_ip: port.host_ip,
                port: port.shared()?,
                protocol: port.protocol,
                target: port.target,
                network: self.network.clone(),
                backends: backends.clone(),
            })
        };
        let ports = self.service.spec.container.ports.iter();
        ports.filter_map(shared).collect()
    }
}

/// The network of the default route, or else the first that is not internal.
pub(crate) fn way_in<'a>(state: &'a State, service: &Service) -> Option<&'a NetworkId> {
    let NetworkMode::Attached(wishes) = &service.spec.container.network else {
        return None;
    };
    let outward = wishes.iter().filter_map(|wish| {
        let network = state.network_named(&wish.network)?;
        (!network.spec.internal).then_some((wish, &network.id))
    });
    // The first of those with the highest values.
    let order = |(wish, _): &(&crate::model::container::NetworkAttachment, &NetworkId)| {
        (wish.gateway_priority, wish.priority)
    };
    let mut all: Vec<_> = outward.collect();
    all.reverse();
    all.into_iter()
        .max_by_key(order)
        .map(|(_, network)| network)
}

/// The containers of a service that serve, in the order of their addresses on the network.
fn serving(state: &State, service: &Service, network: &NetworkId) -> Vec<(IpAddr, NodeId)> {
    let serving = state.service_tasks(&service.id).filter(|task| {
        slot::is_serving(task)
            && task.desired <= DesiredState::Running
            && spec_of(state, task).is_some()
            && is_reachable(state, task)
    });
    let mut found = Vec::new();
    for task in serving {
        let places = task.attachments.iter();
        let places = places.filter(|place| place.network == *network);
        if let Some(node) = &task.node {
            let addresses = places.flat_map(|place| place.addresses());
            found.extend(addresses.map(|address| (address, node.clone())));
        }
    }
    found.sort();
    found
}

fn is_reachable(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|node| state.nodes.get(node));
    node.is_some_and(|node: &std::sync::Arc<Node>| node.status == NodeStatus::Ready)
}
