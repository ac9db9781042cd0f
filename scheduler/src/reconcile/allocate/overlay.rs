//! What networks need once there are several nodes: a number for their tunnels, and an address for
//! each node where it forwards published ports.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Pool;
use crate::assignment::build::{is_spread, way_in};
use crate::model::container::PublishedPort;
use crate::model::id::{NetworkId, NodeId};
use crate::model::network::Network;
use crate::state::{Change, Draft, State};

/// Smaller ones are left to people: VLANs end at 4096.
const FIRST: u32 = 4097;
/// Of 24 bits.
const LAST: u32 = (1 << 24) - 1;

pub(super) fn pass(draft: &mut Draft<'_>, pool: &mut Pool) {
    if !is_spread(draft.state()) {
        return;
    }
    let outward = forwarding(draft.state());
    let networks: Vec<Arc<Network>> = draft.state().networks.values().cloned().collect();
    for network in networks {
        let mut changed = (*network).clone();
        if changed.vni == 0 {
            changed.vni = free_number(draft.state());
        }
        addresses(
            draft.state(),
            pool,
            &mut changed,
            outward.contains(&network.id),
        );
        if changed != *network {
            draft.push(Change::SetNetwork(Arc::new(changed)));
        }
    }
}

/// Networks on which services publish ports.
fn forwarding(state: &State) -> BTreeSet<NetworkId> {
    let publishes = |ports: &[PublishedPort]| ports.iter().any(PublishedPort::is_shareable);
    let services = state.services.values();
    let services = services
        .filter(|service| !service.is_standalone() && publishes(&service.spec.container.ports));
    services
        .filter_map(|service| way_in(state, service).cloned())
        .collect()
}

fn addresses(state: &State, pool: &mut Pool, network: &mut Network, wanted: bool) {
    let nodes = &state.nodes;
    let stays = |node: &NodeId| wanted && nodes.contains_key(node);
    network.node_addresses.retain(|node, _| stays(node));
    network.node_addresses_ipv6.retain(|node, _| stays(node));
    if !wanted || network.removing {
        return;
    }
    let missing: Vec<NodeId> = nodes
        .values()
        .filter(|node| node.address.is_some())
        .map(|node| node.id.clone())
        .filter(|node| !network.node_addresses.contains_key(node))
        .collect();
    for node in missing {
        // A full network goes on without: the node then does not forward to others.
        if let Ok((address, ipv6)) = pool.take_next(state, network) {
            let beside = ipv6.map(|ipv6| (node.clone(), ipv6));
            network.node_addresses_ipv6.extend(beside);
            network.node_addresses.insert(node, address);
        }
    }
}

fn free_number(state: &State) -> u32 {
    let taken: BTreeSet<u32> = state.networks.values().map(|it| it.vni).collect();
    // There are more numbers than networks fit into memory.
    (FIRST..=LAST)
        .find(|it| !taken.contains(it))
        .unwrap_or(LAST)
}
