//! Tells nodes what they must run: those, and only those, that something has changed for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Builder, Shared, Touched};
use crate::assignment::Assignment;
use crate::model::id::{NetworkId, NodeId, ServiceId};
use crate::state::State;

/// Remembers what every node was told last.
#[derive(Debug, Default)]
pub struct Announcer {
    /// `None` until the first time.
    shared: Option<Shared>,
    nodes: BTreeMap<NodeId, Builder>,
    /// Nodes with containers that join others, wherever those are.
    joining: BTreeSet<NodeId>,
}

impl Announcer {
    /// What nodes must be told now. `touched` is what has changed since the last time.
    pub fn news(&mut self, state: &State, touched: Touched) -> Vec<(NodeId, Arc<Assignment>)> {
        let (shared, affected) = match self.shared.take() {
            Some(mut shared) if !touched.everything => {
                let affected = affected(state, &mut shared, touched);
                (shared, affected)
            }
            _ => (Shared::read(state), None),
        };
        let nodes = match affected {
            // Who joins another container hears when that is another one.
            Some(nodes) => nodes.union(&self.joining).cloned().collect(),
            None => self.all(state),
        };
        let news = self.update(state, &shared, nodes);
        if cfg!(debug_assertions) {
            let all = self.all(state);
            let missed = self.update(state, &Shared::read(state), all);
            assert!(missed.is_empty(), "not told: {missed:?}");
        }
        self.shared = Some(shared);
        news
    }

    fn all(&mut self, state: &State) -> BTreeSet<NodeId> {
        self.nodes.retain(|id, _| state.nodes.contains_key(id));
        self.joining.retain(|id| state.nodes.contains_key(id));
        state.nodes.keys().cloned().collect()
    }

    fn update(
        &mut self,
        state: &State,
        shared: &Shared,
        nodes: BTreeSet<NodeId>,
    ) -> Vec<(NodeId, Arc<Assignment>)> {
        let mut news = Vec::new();
        for node in nodes.into_iter().filter(|id| state.nodes.contains_key(id)) {
            let builder = self.nodes.entry(node.clone()).or_default();
            let assignment = builder.update(state, shared, &node);
            if builder.joins() {
                self.joining.insert(node.clone());
            } else {
                self.joining.remove(&node);
            }
            news.extend(assignment.map(|assignment| (node, assignment)));
        }
        news
    }
}

/// The nodes that may have something new to hear; `None` is all.
fn affected(state: &State, shared: &mut Shared, mut touched: Touched) -> Option<BTreeSet<NodeId>> {
    if touched.volumes {
        shared.volumes = super::shared::volumes(state);
    }
    // A network that has changed may be another way in.
    for network in &touched.networks {
        let services = shared.networks.get(network).map(|it| it.services.clone());
        touched.services.extend(services.into_iter().flatten());
        let entrances = shared.entrances.iter();
        let entrances = entrances.filter(|(_, it)| it.network() == network);
        touched.services.extend(entrances.map(|(id, _)| id.clone()));
    }
    touched.services.extend(touched.rows.iter().cloned());
    let news = shared.update(state, &touched.services, &touched.networks);
    let on_all = |id: &NetworkId| shared.entrances.values().any(|it| it.network() == id);
    if news.entrances || news.networks.iter().any(on_all) {
        return None;
    }
    let on_networks = news
        .networks
        .iter()
        .filter_map(|id| shared.networks.get(id));
    let services = on_networks.flat_map(|network| &network.services);
    let services: BTreeSet<&ServiceId> = services.chain(&touched.rows).collect();
    let tasks = services.into_iter().flat_map(|id| state.service_tasks(id));
    let mut nodes = touched.nodes;
    nodes.extend(tasks.filter_map(|task| task.node.clone()));
    Some(nodes)
}
