//! Who takes part in the group, who should, and the next step from one to the other.
//!
//!     wanted ──learner──► follows ──caught up and steady──► votes ──no longer wanted──► gone
//!                                    (an odd number at once)        (a majority must remain)
//!
//! Everything here is pure. The leader asks for [`next`] and puts it before the group; nobody else
//! changes the members. Two voters are worse than one, since the loss of either stops both, so that
//! a group grows from one to three in a single joint change.

use std::collections::{BTreeMap, BTreeSet};

use ::raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};
use serde::{Deserialize, Serialize};

/// A member this far behind the end of the log is as good as caught up.
const CAUGHT_UP: u64 = 200;

/// Who takes part in the group, by number, each list in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Members {
    pub voters: Vec<u64>,
    /// They follow the log and have no say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learners: Vec<u64>,
    /// While a change is under way: who voted before. Both majorities must agree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<u64>,
    /// Voters of before that become learners at the end of the change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learners_next: Vec<u64>,
    /// The change ends by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_leave: bool,
}

/// How far a member is, as the leader sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last entry that it is known to have.
    pub matched: u64,
    /// It has been heard from all the while, for as long as makes it steady.
    pub steady: bool,
}

/// What the leader should do next about the members.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Change(Change),
    /// The leader itself is to go: another one first, who then removes it.
    Transfer(u64),
}

/// A change of the members, all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub learn: BTreeSet<u64>,
    pub promote: BTreeSet<u64>,
    pub remove: BTreeSet<u64>,
}

impl Members {
    /// A group of one.
    pub fn alone(id: u64) -> Self {
        Self {
            voters: vec![id],
            ..Self::default()
        }
    }

    /// Nobody votes: this member has not been told yet who does.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    pub fn contains(&self, id: u64) -> bool {
        let lists = [&self.voters, &self.learners, &self.outgoing];
        lists.into_iter().any(|list| list.contains(&id))
    }

    /// Two sets of voters must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Nobody else has a say.
    pub fn is_only_voter(&self, id: u64) -> bool {
        self.voters == [id] && !self.is_joint()
    }

    pub(super) fn from_raft(state: &ConfState) -> Self {
        let sorted = |list: &[u64]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        Self {
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }

    pub(super) fn to_raft(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.outgoing.clone(),
            learners_next: self.learners_next.clone(),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }
}

impl Change {
    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let kinds = [
            (ConfChangeType::AddLearnerNode, &self.learn),
            (ConfChangeType::AddNode, &self.promote),
            (ConfChangeType::RemoveNode, &self.remove),
        ];
        let singles = kinds.into_iter().flat_map(|(kind, ids)| {
            ids.iter().map(move |id| {
                let mut single = ConfChangeSingle::default();
                single.set_change_type(kind);
                single.node_id = *id;
                single
            })
        });
        let mut change = ConfChangeV2::default();
        change.set_changes(singles.collect::<Vec<_>>().into());
        change
    }
}

/// The next step from the members that there are to those that are wanted; `None` when there is
/// nothing to do, or nothing that can be done yet.
///
/// `last` is the end of the leader's log. Nothing is done while nobody is wanted: a state that
/// names no managers does not know them yet.
pub fn next(
    leader: u64,
    members: &Members,
    wanted: &BTreeSet<u64>,
    progress: &BTreeMap<u64, Progress>,
    last: u64,
) -> Option<Step> {
    if members.is_joint() || wanted.is_empty() {
        return None;
    }
    let voters: BTreeSet<u64> = members.voters.iter().copied().collect();
    let learners: BTreeSet<u64> = members.learners.iter().copied().collect();
    let learn: BTreeSet<u64> = wanted
        .iter()
        .filter(|id| !voters.contains(id) && !learners.contains(id))
        .copied()
        .collect();
    let stray: BTreeSet<u64> = learners.difference(wanted).copied().collect();
    if !learn.is_empty() || !stray.is_empty() {
        // Learners have no say, so that these need nobody's majority but the present one.
        return Some(Step::Change(Change {
            learn,
            remove: stray,
            ..Change::default()
        }));
    }
    let ready = |id: &u64| {
        progress
            .get(id)
            .is_some_and(|it| it.steady && it.matched + CAUGHT_UP >= last)
    };
    let leaving: BTreeSet<u64> = voters.difference(wanted).copied().collect();
    let staying = voters.len() - leaving.len();
    let mut promote: Vec<u64> = learners.into_iter().filter(ready).collect();
    while !promote.is_empty() && !is_good_number(staying + promote.len(), wanted.len()) {
        promote.pop();
    }
    if promote.is_empty() && leaving.is_empty() {
        return None;
    }
    if leaving.contains(&leader) {
        let heir = voters.intersection(wanted).filter(|id| ready(id));
        let heir = heir.max_by_key(|id| {
            (
                progress.get(*id).map(|it| it.matched),
                std::cmp::Reverse(**id),
            )
        });
        if let Some(heir) = heir {
            return Some(Step::Transfer(*heir));
        }
        // Alone, it stays until another can follow it.
        if promote.is_empty() {
            return None;
        }
    }
    let steady = progress.iter().filter(|(_, it)| it.steady);
    let mut heard: BTreeSet<u64> = steady.map(|(id, _)| *id).collect();
    heard.insert(leader);
    let mut remove = leaving;
    remove.remove(&leader);
    if !may_lose(&voters, &heard, &remove) {
        remove.clear();
    }
    let promote: BTreeSet<u64> = promote.into_iter().collect();
    let change = Change {
        promote,
        remove,
        ..Change::default()
    };
    (change != Change::default()).then_some(Step::Change(change))
}

/// An even number of voters tolerates no more losses than the odd one below it, and is taken only
/// when it is what was asked for.
fn is_good_number(voters: usize, wanted: usize) -> bool {
    voters % 2 == 1 || voters >= wanted
}

/// Whether the group can go on when `leaving` no longer vote: those that remain must be able to
/// agree with the members that have been heard from lately, and so must those of before, since the
/// change itself is agreed on by both.
pub fn may_lose(voters: &BTreeSet<u64>, heard: &BTreeSet<u64>, leaving: &BTreeSet<u64>) -> bool {
    let remaining: BTreeSet<u64> = voters.difference(leaving).copied().collect();
    let agrees = |set: &BTreeSet<u64>| set.intersection(heard).count() > set.len() / 2;
    agrees(&remaining) && agrees(voters)
}

#[cfg(test)]
mod tests;
