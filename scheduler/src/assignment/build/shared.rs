//! What nodes are told in common: read off the state once, not once for each node.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::names::{Meanings, Names};
use super::overlay::{self, Entrance};
use crate::assignment::{AssignedVolume, RemoteEndpoint};
use crate::model::id::{NetworkId, NodeId};
use crate::model::node::Role;
use crate::state::State;

/// What is told to all nodes, or lies ready to be picked for one.
#[derive(Debug)]
pub struct Shared {
    pub(super) managers: Vec<(NodeId, SocketAddr)>,
    pub(super) names: BTreeMap<NetworkId, Meanings>,
    pub(super) endpoints: BTreeMap<NetworkId, Vec<(RemoteEndpoint, NodeId)>>,
    pub(super) entrances: Vec<Entrance>,
    pub(super) volumes: BTreeMap<NodeId, Vec<AssignedVolume>>,
}

impl Shared {
    pub fn read(state: &State) -> Self {
        Self {
            managers: managers(state),
            names: Names::read(state),
            endpoints: overlay::endpoints(state),
            entrances: overlay::entrances(state),
            volumes: volumes(state),
        }
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

fn volumes(state: &State) -> BTreeMap<NodeId, Vec<AssignedVolume>> {
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
