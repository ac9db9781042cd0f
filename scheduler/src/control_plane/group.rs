//! The leader's part in the group: who takes part, who can be reached, what is agreed on by now.
//!
//! Nothing of it is in the replicated state. It begins anew with each leadership.

use std::collections::{BTreeMap, BTreeSet};

use super::{ControlPlane, Output};
use crate::model::id::NodeId;
use crate::model::node::Role;
use crate::raft::members::{Progress, Step, next};
use crate::raft::{self, Members};
use crate::state::draft::Voters;

/// Ticks (of 50 ms) between two looks at nodes and members.
const LOOK_EVERY: u64 = 4;
/// A member that was heard from within so many ticks can be reached: some heartbeats.
const REACHED: u64 = 14;
/// The same while nobody leads: members then speak when one of them wants to, which is every one or
/// two seconds.
const REACHED_WITHOUT_LEADER: u64 = 100;
/// A member that could be reached for so many ticks on end is steady: two seconds.
const STEADY: u64 = 40;
/// A question that was lost is asked again after so many ticks.
const ASK_AGAIN: u64 = 10;
/// A leader whose disk is full tries again after so many ticks to make way: two seconds.
const MAKE_WAY_AGAIN: u64 = 40;
/// Ticks after which whoever asked has given up: ten seconds.
pub(super) const PATIENCE: u64 = 200;

/// How the group looks from this member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// This member decides, and has caught up with what was agreed on before.
    pub leads: bool,
    /// The number of the member that leads, as far as this one knows; see [`raft::number_of`].
    pub leader: Option<u64>,
    pub term: u64,
    pub members: Members,
    /// Members that this one has heard from lately. Only the leader hears all of them, or everybody
    /// while nobody leads: empty on one that follows.
    pub reached: BTreeSet<u64>,
    /// What follows only the leader knows. Nodes that are silent, but not yet down.
    pub suspects: BTreeSet<NodeId>,
    /// At least half of the nodes are silent at once: something is wrong here, and none is given
    /// up for it.
    pub alarm: bool,
}

/// What is remembered of the other members.
#[derive(Debug, Default)]
pub(super) struct Group {
    seen: BTreeMap<u64, Seen>,
    reads: BTreeMap<u64, Reading>,
    /// Nodes that were silent at the last look.
    suspects: BTreeSet<NodeId>,
    room: Room,
}

/// Whether decisions can be written down here.
#[derive(Clone, Copy, Debug, Default)]
enum Room {
    #[default]
    There,
    /// The tick of the last try to make way for another leader.
    None { tried: Option<u64> },
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Since when it has been heard from without a pause, and last.
    first: u64,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    since: u64,
    /// What was agreed on when it was asked ends here, once that is known.
    index: Option<u64>,
}

impl Group {
    pub(super) fn see(&mut self, member: u64, tick: u64) {
        let seen = self.seen.entry(member).or_insert(Seen {
            first: tick,
            last: tick,
        });
        if tick - seen.last > REACHED {
            seen.first = tick;
        }
        seen.last = tick;
    }

    pub(super) fn has_room(&mut self) {
        self.room = Room::There;
    }

    pub(super) fn lacks_room(&mut self) {
        if matches!(self.room, Room::There) {
            self.room = Room::None { tried: None };
        }
    }

    /// Somebody waits for what is agreed on.
    pub(super) fn is_asked(&self) -> bool {
        !self.reads.is_empty()
    }

    fn reached(&self, tick: u64) -> impl Iterator<Item = (u64, &Seen)> {
        self.reached_within(tick, REACHED)
    }

    fn reached_within(&self, tick: u64, ticks: u64) -> impl Iterator<Item = (u64, &Seen)> {
        let seen = self.seen.iter().map(|(id, seen)| (*id, seen));
        seen.filter(move |(_, seen)| tick - seen.last <= ticks)
    }
}

impl ControlPlane {
    /// How the group looks from here.
    pub fn standing(&self) -> Standing {
        let leads = self.leads();
        let mut standing = Standing {
            leads,
            leader: self.raft.leader(),
            term: self.raft.term(),
            members: self.raft.members().clone(),
            ..Standing::default()
        };
        let tick = self.liveness.ticks();
        if standing.leader.is_none() {
            let reached = self.group.reached_within(tick, REACHED_WITHOUT_LEADER);
            standing.reached = reached.map(|(id, _)| id).collect();
        }
        if leads {
            let reached = self.group.reached(tick);
            standing.reached = reached.map(|(id, _)| id).collect();
            standing.suspects = self.liveness.suspects(&self.state, &self.node);
            standing.alarm = self.liveness.is_alarmed();
        }
        standing
    }

    /// Who votes, and who can be heard, this member included.
    pub(super) fn voters(&self) -> Voters {
        let reached = self.group.reached(self.liveness.ticks());
        let heard = reached.map(|(id, _)| id).chain([self.raft.id()]);
        Voters {
            all: self.raft.members().voters.iter().copied().collect(),
            heard: heard.collect(),
        }
    }

    pub fn term(&self) -> u64 {
        self.raft.term()
    }

    /// The node that leads, as far as this one knows.
    pub fn leader(&self) -> Option<NodeId> {
        let number = self.raft.leader()?;
        let mut ids = self.state.nodes.keys();
        ids.find(|id| raft::number_of(id) == number).cloned()
    }

    /// Hands the leadership to another voter, once that one has caught up.
    pub fn transfer(&mut self, to: &NodeId) {
        self.raft.transfer(raft::number_of(to));
    }

    pub(super) fn tick(&mut self, outputs: &mut Vec<Output>) {
        self.liveness.tick();
        self.raft.tick();
        let tick = self.liveness.ticks();
        self.ask_again(tick);
        self.expire(tick, outputs);
        self.make_way(tick);
        if self.leads() && tick.is_multiple_of(LOOK_EVERY) {
            self.verdicts = self.liveness.judge(&self.state, &self.node);
            self.look_for_returned();
            self.change_members(tick);
        }
    }

    /// A leader that cannot write down what is agreed on keeps everybody waiting: another member
    /// has room, perhaps. One whose own disk is full answers nothing, and is none of those reached.
    fn make_way(&mut self, tick: u64) {
        let Room::None { tried } = self.group.room else {
            return;
        };
        let is_soon = tried.is_some_and(|tried| tick - tried < MAKE_WAY_AGAIN);
        if is_soon || !self.raft.is_leader() || self.raft.is_transferring() {
            return;
        }
        self.group.room = Room::None { tried: Some(tick) };
        let matched = self.raft.matched();
        let voters = &self.raft.members().voters;
        let reached = self.group.reached(tick).map(|(id, _)| id);
        let heirs = reached.filter(|id| voters.contains(id));
        let heir = heirs.max_by_key(|id| matched.get(id).copied().unwrap_or(0));
        if let Some(heir) = heir {
            self.raft.transfer(heir);
        }
    }

    /// What found no place because a node was silent may have one again.
    fn look_for_returned(&mut self) {
        let suspects = self.liveness.suspects(&self.state, &self.node);
        self.fresh |= !self.group.suspects.is_subset(&suspects);
        self.group.suspects = suspects;
    }

    /// Takes the next step towards the members that are wanted, if there is one.
    fn change_members(&mut self, tick: u64) {
        let managers = self.state.nodes.values();
        let managers = managers.filter(|node| node.role == Role::Manager);
        let wanted: BTreeSet<u64> = managers.map(|node| raft::number_of(&node.id)).collect();
        let matched = self.raft.matched();
        let reached = self.group.reached(tick);
        let progress = reached.map(|(id, seen)| {
            let progress = Progress {
                matched: matched.get(&id).copied().unwrap_or(0),
                steady: tick - seen.first >= STEADY,
            };
            (id, progress)
        });
        let progress = progress.collect();
        let (own, last) = (self.raft.id(), self.raft.last_index());
        // What is refused now is looked at again.
        match next(own, self.raft.members(), &wanted, &progress, last) {
            Some(Step::Change(change)) => drop(self.raft.propose_members(&change)),
            Some(Step::Transfer(heir)) => self.raft.transfer(heir),
            None => {}
        }
    }

    pub(super) fn read(&mut self, id: u64) {
        let since = self.liveness.ticks();
        self.group.reads.insert(id, Reading { since, index: None });
        self.raft.read(id);
    }

    pub(super) fn agreed(&mut self, id: u64, index: u64) {
        if let Some(reading) = self.group.reads.get_mut(&id) {
            reading.index = Some(index);
        }
    }

    /// Tells those who asked, as soon as everything they must see has been applied.
    pub(super) fn answer_reads(&mut self, outputs: &mut Vec<Output>) {
        let applied = self.applied.index;
        let ready = |reading: &Reading| reading.index.is_some_and(|index| index <= applied);
        let reads = self.group.reads.iter();
        let done: Vec<u64> = reads
            .filter(|(_, it)| ready(it))
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            self.group.reads.remove(&id);
            outputs.push(Output::ReadReady { id });
        }
    }

    fn ask_again(&mut self, tick: u64) {
        let reads = &mut self.group.reads;
        reads.retain(|_, reading| tick - reading.since <= PATIENCE);
        let lost = reads.iter().filter(|(_, reading)| {
            let age = tick - reading.since;
            reading.index.is_none() && age > 0 && age.is_multiple_of(ASK_AGAIN)
        });
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            self.raft.read(id);
        }
    }
}
