//! Which nodes have been heard from, as the leader remembers it: never replicated, lost with the
//! leadership.
//!
//!     heard ──2.5 s of silence──► suspect (gets nothing new) ──5 s──► down (a change of its row)
//!       ▲                                                               │
//!       └───────────────────────────── heard again ─────────────────────┘
//!
//! Time is counted in ticks of this process, so that neither a changed clock nor a process that was
//! stopped for a while makes anybody look silent. A new leader begins with full leases. When half
//! of the nodes, and no fewer than two, are silent at once the fault is more likely here than with all
//! of them: then nobody is given up, and an alarm is raised instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::cluster::ClusterSettings;
use crate::model::id::NodeId;
use crate::model::node::{Node, NodeStatus};
use crate::raft::TICK;
use crate::state::{State, Table};

/// Of two nodes one may well be gone.
const FEWEST_SILENT: usize = 2;

/// Ticks and signs of life.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    ticks: u64,
    heard: BTreeMap<NodeId, Heard>,
    /// The nodes as they were judged last.
    nodes: Table<NodeId, Node>,
    alarm: bool,
    /// The tick of the last look at which there was alarm: what was not heard until then counts for
    /// nothing.
    alarmed_at: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: u64,
    /// The session of the last sign; `None` while its lease is a gift.
    session: Option<u64>,
}

/// A row that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) node: NodeId,
    pub(super) status: NodeStatus,
    pub(super) reason: String,
}

impl Liveness {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }

    /// Ticks since this process began.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Leadership begins: everybody gets a full lease.
    pub(super) fn lead(&mut self) {
        self.heard.clear();
        self.alarm = false;
        self.alarmed_at = None;
    }

    /// A sign of life. Sessions count up: one that was overtaken by a newer says nothing.
    pub(super) fn hear(&mut self, node: NodeId, session: u64) {
        let at = self.ticks;
        let known = self.heard.get(&node).and_then(|heard| heard.session);
        if known.is_none_or(|known| known <= session) {
            let session = Some(session);
            self.heard.insert(node, Heard { at, session });
        }
    }

    /// Half of the nodes or more are silent: none of them is given up.
    pub(super) fn is_alarmed(&self) -> bool {
        self.alarm
    }

    /// Nodes that count as alive but have been silent for a while.
    pub(super) fn suspects(&self, state: &State, own: &NodeId) -> BTreeSet<NodeId> {
        let patience = settings(state).suspect_after();
        let nodes = state.nodes.values();
        nodes
            .filter(|node| node.status == NodeStatus::Ready && node.id != *own)
            .filter(|node| self.silence(&node.id) >= patience)
            .map(|node| node.id.clone())
            .collect()
    }

    /// The rows that no longer say what is so. `own` is the leader's node, which needs no sign.
    pub(super) fn judge(&mut self, state: &State, own: &NodeId) -> Vec<Verdict> {
        self.follow(state);
        let suspect_after = settings(state).suspect_after();
        let (mut ready, mut silent) = (0, 0);
        for (node, heard) in state.nodes.values().zip(self.heard.values()) {
            if node.status == NodeStatus::Ready {
                let is_silent = node.id != *own && self.since(heard.at) >= suspect_after;
                ready += 1;
                silent += usize::from(is_silent);
            }
        }
        self.alarm = silent >= FEWEST_SILENT && 2 * silent >= ready;
        if self.alarm {
            self.alarmed_at = Some(self.ticks);
        }
        let down_after = settings(state).down_after();
        let nodes = state.nodes.values().zip(self.heard.values());
        nodes
            .filter_map(|(node, heard)| self.verdict(down_after, node, *heard, own))
            .filter(|verdict| verdict.status == NodeStatus::Ready || !self.alarm)
            .collect()
    }

    /// `usual` is how long nodes may be silent that have no time of their own.
    fn verdict(&self, usual: Duration, node: &Node, heard: Heard, own: &NodeId) -> Option<Verdict> {
        let silence = self.since(heard.at);
        let own_patience = node.down_after_millis.map(Duration::from_millis);
        let patience = own_patience.unwrap_or(usual);
        let spoke = heard.session.is_some();
        let (status, reason) = match node.status {
            NodeStatus::Ready if node.id != *own && silence.min(self.calm()) >= patience => {
                let reason = format!("not heard of for {} s", silence.as_secs());
                (NodeStatus::Down, reason)
            }
            NodeStatus::Down if node.id == *own || spoke && silence < patience => {
                (NodeStatus::Ready, String::new())
            }
            NodeStatus::Ready | NodeStatus::Down => return None,
        };
        Some(Verdict {
            node: node.id.clone(),
            status,
            reason,
        })
    }

    /// Remembers exactly the nodes that there are, the new ones as just heard of. Signs of others may
    /// have come meanwhile.
    fn follow(&mut self, state: &State) {
        if self.nodes.is_same(&state.nodes) && self.heard.len() == state.nodes.len() {
            return;
        }
        let fresh = Heard {
            at: self.ticks,
            session: None,
        };
        self.heard.retain(|id, _| state.nodes.contains_key(id));
        for id in state.nodes.keys() {
            self.heard.entry(id.clone()).or_insert(fresh);
        }
        self.nodes = state.nodes.clone();
    }

    /// How long ago its last sign was; nothing for one that has only just been seen.
    fn silence(&self, node: &NodeId) -> Duration {
        self.since(self.heard.get(node).map_or(self.ticks, |heard| heard.at))
    }

    /// How long there has been no alarm: those who are heard again are not all heard at once.
    fn calm(&self) -> Duration {
        self.alarmed_at.map_or(Duration::MAX, |at| self.since(at))
    }

    fn since(&self, tick: u64) -> Duration {
        let ticks = u32::try_from(self.ticks - tick).unwrap_or(u32::MAX);
        TICK.saturating_mul(ticks)
    }
}

fn settings(state: &State) -> ClusterSettings {
    let cluster = state.cluster.as_ref();
    cluster.map_or_else(ClusterSettings::default, |it| it.settings.clone())
}

#[cfg(test)]
mod tests;
