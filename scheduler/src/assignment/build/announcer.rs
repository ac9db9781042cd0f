//! Tells nodes what they must run: those, and only those, that something has changed for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compare::Comparison;
use super::shared::{News, Parts};
use super::{Source, Touched, epoch};
use crate::assignment::Assignment;
use crate::model::id::{NodeId, ServiceId};
use crate::state::{SharedMap, State};

/// What every node must run: since when it is as it is, and what it is put together from. A copy
/// costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    source: Source,
    /// The version of the state in which each node was last told something new.
    generations: SharedMap<NodeId, u64>,
}

impl Announced {
    /// The number of what a node must run; see [`Assignment::number`].
    pub fn number(&self, node: &NodeId) -> Option<(u64, u64)> {
        let generation = self.generations.get(node)?;
        Some((epoch(&self.source.state), *generation))
    }

    /// What a node must run, put together anew each time.
    pub fn assignment(&self, node: &NodeId) -> Option<Arc<Assignment>> {
        let generation = self.generations.get(node)?;
        Some(Arc::new(self.source.assignment(node, *generation)))
    }
}

/// Remembers what was told last: all of it together, not each node's for itself.
#[derive(Debug, Default)]
pub struct Announcer {
    has_begun: bool,
    announced: Announced,
    parts: Parts,
}

impl Announcer {
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Who must be told something now. `touched` is what has changed since the last time.
    pub fn news(&mut self, state: &State, touched: Touched) -> BTreeSet<NodeId> {
        let before = self.announced.source.clone();
        let news = if self.has_begun && !touched.anything {
            let news = self.compare(state, &before, touched);
            #[cfg(debug_assertions)]
            assert_all_told(state, &before, &news);
            news
        } else {
            self.has_begun = true;
            self.announced.generations = SharedMap::new();
            self.read(state);
            state.nodes.keys().cloned().collect()
        };
        for node in &news {
            let known = &mut self.announced.generations;
            known.insert(node.clone(), state.version);
        }
        news
    }

    fn compare(&mut self, state: &State, before: &Source, touched: Touched) -> BTreeSet<NodeId> {
        let news = if touched.everyone {
            self.read(state);
            let known = &mut self.announced.generations;
            let is_gone = |id: &&NodeId| !state.nodes.contains_key(*id);
            for gone in before.state.nodes.keys().filter(is_gone) {
                known.remove(gone);
            }
            News {
                networks: state.networks.keys().cloned().collect(),
                entrances: state.services.keys().cloned().collect(),
            }
        } else {
            self.update(state, &touched)
        };
        let mut comparison = Comparison::new(before, &self.announced.source);
        if touched.everyone {
            comparison.common();
        }
        comparison.nodes(&touched.nodes);
        comparison.tasks(&touched.tasks);
        comparison.services(touched.rows.union(self.parts.joining()));
        comparison.entrances(&news.entrances);
        comparison.networks(&self.parts, &news.networks);
        comparison.into_told()
    }

    fn read(&mut self, state: &State) {
        let (parts, shared) = Parts::read(state);
        self.parts = parts;
        self.announced.source = Source {
            state: state.clone(),
            shared,
        };
    }

    /// Reads again what was touched.
    fn update(&mut self, state: &State, touched: &Touched) -> News {
        let source = &mut self.announced.source;
        source.state = state.clone();
        if touched.volumes {
            source.shared.volumes = Arc::new(super::shared::volumes(state));
        }
        let mut services: BTreeSet<ServiceId> = &touched.services | &touched.rows;
        // A network that has changed may be another way in.
        for network in &touched.networks {
            services.extend(self.parts.on(network).cloned());
            let entrances = source.shared.entrances.iter();
            let entrances = entrances.filter(|(_, it)| it.network() == network);
            services.extend(entrances.map(|(id, _)| id.clone()));
        }
        let shared = &mut source.shared;
        self.parts
            .update(shared, state, &services, &touched.networks)
    }
}

/// Whoever is left out would be told the same once more.
#[cfg(debug_assertions)]
fn assert_all_told(state: &State, before: &Source, told: &BTreeSet<NodeId>) {
    let after = Source::read(state);
    for node in state.nodes.keys().filter(|id| !told.contains(*id)) {
        let (old, new) = (before.assignment(node, 0), after.assignment(node, 0));
        assert!(old == new, "{node} is not told: {new:?} after {old:?}");
    }
}
