//! What lies on other nodes: the ends of a network's tunnels, and the containers behind a port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::spec_of;
use crate::assignment::{AssignedOverlay, RemoteEndpoint, SharedPort};
use crate::model::container::{NetworkMode, PublishedPort};
use crate::model::id::{NetworkId, NodeId};
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

/// The tunnels of a network from one node. Containers that are only prepared are in it too, so that
/// the way to them is there before they are.
pub(super) fn overlay(state: &State, node: &NodeId, network: &Network) -> Option<AssignedOverlay> {
    if network.vni == 0 || !is_spread(state) {
        return None;
    }
    let local = end_of(state, node)?;
    let mut remote = Vec::new();
    for other in state.nodes.values().filter(|other| other.id != *node) {
        let Some(end) = other.address.map(|it| it.ip()) else {
            continue;
        };
        let places = state.node_tasks(&other.id).filter(|task| is_there(task));
        let places = places.flat_map(|task| &task.attachments);
        let places = places.filter(|place| place.network == network.id);
        remote.extend(places.map(|place| RemoteEndpoint {
            address: place.address,
            mac: place.mac.clone(),
            node: end,
        }));
        let own = network.node_addresses.get(&other.id);
        remote.extend(own.map(|address| RemoteEndpoint {
            address: *address,
            mac: mac_of(*address),
            node: end,
        }));
    }
    remote.sort();
    remote.dedup();
    Some(AssignedOverlay {
        vni: network.vni,
        local,
        address: network.node_addresses.get(node).copied(),
        remote,
    })
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
    let in_cluster = state.cluster.is_some() || is_spread(state);
    !service.is_standalone() && (in_cluster || service.shares_ports())
}

/// The ports that one node answers on for services.
pub(super) fn published(state: &State, node: &NodeId) -> Vec<SharedPort> {
    let services = state.services.values();
    let services =
        services.filter(|service| service.removal.is_none() && shares_ports(state, service));
    let mut published: Vec<SharedPort> = services
        .flat_map(|service| of_service(state, service, node))
        .collect();
    published.sort();
    published
}

fn of_service(state: &State, service: &Service, node: &NodeId) -> Vec<SharedPort> {
    let ports = &service.spec.container.ports;
    if !ports.iter().any(PublishedPort::is_shareable) {
        return Vec::new();
    }
    let Some(network) = way_in(state, service) else {
        return Vec::new();
    };
    let (here, elsewhere) = backends(state, service, network, node);
    let backends = if here.is_empty() { elsewhere } else { here };
    let shared = |port: &PublishedPort| {
        Some(SharedPort {
            service: service.full_name(),
            host_ip: port.host_ip,
            port: port.shared()?,
            protocol: port.protocol,
            target: port.target,
            network: network.clone(),
            backends: backends.clone(),
        })
    };
    ports.iter().filter_map(shared).collect()
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

/// The containers that serve, on this node and on others, with their addresses on the network.
fn backends(
    state: &State,
    service: &Service,
    network: &NetworkId,
    node: &NodeId,
) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
    let serving = state.service_tasks(&service.id).filter(|task| {
        slot::is_serving(task)
            && task.desired <= DesiredState::Running
            && spec_of(state, task).is_some()
            && is_reachable(state, task)
    });
    let mut found: BTreeMap<bool, Vec<Ipv4Addr>> = BTreeMap::new();
    for task in serving {
        let places = task.attachments.iter();
        let place = places.filter(|place| place.network == *network);
        let here = task.node.as_ref() == Some(node);
        found
            .entry(here)
            .or_default()
            .extend(place.map(|it| it.address));
    }
    let mut take = |here| {
        let mut addresses = found.remove(&here).unwrap_or_default();
        addresses.sort();
        addresses
    };
    (take(true), take(false))
}

fn is_reachable(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|node| state.nodes.get(node));
    node.is_some_and(|node: &std::sync::Arc<Node>| node.status == NodeStatus::Ready)
}
