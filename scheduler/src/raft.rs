//! Consensus over opaque bytes: the `raft` crate's `RawNode` behind a few words of ours.
//!
//!     propose ─► entry ─► Write (to disk) ─► persisted ─► Committed
//!                   └────► Send (to peers) ─► step ──┘
//!
//! Nothing here waits. A [`Write`] is handed out, the caller makes it durable in its own time and
//! says so with [`Raft::persisted`]; meanwhile the node goes on (the `raft` crate's asynchronous
//! ready). The log lives in memory; the disk only has to give it back at the next start.
//!
//! A group of one elects itself on the spot. Its next members join the same log.

pub mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::raft::eraftpb::{EntryType, Message};
use ::raft::{Config, RawNode, Ready, StateRole};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::log::Log;
use crate::model::id::NodeId;

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A batch of changes; empty at the beginning of a leader's term.
    Batch,
    /// A change of the group's members.
    Members,
    MembersV2,
}

/// What a voter must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub term: u64,
    /// The candidate voted for in this term; zero is none.
    pub candidate: u64,
    /// A hint: everything up to here was committed.
    pub commit: u64,
}

/// Up to where a snapshot of the state reaches, and who voted there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub index: u64,
    pub term: u64,
    pub voters: Vec<u64>,
}

/// What the last run left on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    pub vote: Vote,
    /// Everything up to here is in the snapshot.
    pub snapshot: Position,
    /// What follows on the snapshot, without gaps.
    pub entries: Vec<Entry>,
}

/// What must be on disk, in order, before [`Raft::persisted`] is called with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub number: u64,
    pub vote: Option<Vote>,
    /// An entry replaces one with the same index, and everything after it.
    pub entries: Arc<[Entry]>,
}

/// What comes out of the node.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Write(Write),
    Send(Box<Message>),
    /// Agreed on, in order, each once.
    Committed(Entry),
}

/// Why the node cannot go on or did not accept something.
#[derive(Debug, Error)]
pub enum RaftError {
    #[error("cannot start the consensus node")]
    Start { source: ::raft::Error },
    #[error(
        "the log that was read does not follow on the snapshot: entry {found} after {expected}"
    )]
    Gap { expected: u64, found: u64 },
    #[error("proposal was not accepted")]
    Propose { source: ::raft::Error },
    #[error("message was not accepted")]
    Step { source: ::raft::Error },
}

/// One member of the group.
pub struct Raft {
    node: RawNode<Log>,
    /// Numbers of the writes that are not on disk yet.
    writing: BTreeSet<u64>,
    /// Number of the last ready state taken out of the node.
    last: u64,
    /// Messages that promise something which is not on disk yet, by the write they wait for.
    held: BTreeMap<u64, Vec<Message>>,
    /// The vote as it was last handed out for writing.
    vote: Vote,
}

/// The number of a node in the group: the first bytes of its identifier's SHA-256, never zero.
pub fn number_of(node: &NodeId) -> u64 {
    let hash: [u8; 32] = Sha256::digest(node.as_str().as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

impl Raft {
    /// Starts a member. With nothing restored it founds a group of one.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError`] when what was restored contradicts itself.
    pub fn start(id: u64, restored: Restored) -> Result<Self, RaftError> {
        let vote = restored.vote;
        let applied = restored.snapshot.index;
        let log = Log::new(id, restored)?;
        let config = Config {
            id,
            // Ticks of 100 ms: an election after one to two seconds, a heartbeat every 200 ms.
            election_tick: 10,
            heartbeat_tick: 2,
            applied,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let start = |source| RaftError::Start { source };
        let mut node = RawNode::new(&config, log, &logger).map_err(start)?;
        if node.store().is_only_voter(id) {
            node.campaign().map_err(start)?;
        }
        Ok(Self {
            node,
            writing: BTreeSet::new(),
            last: 0,
            held: BTreeMap::new(),
            vote,
        })
    }

    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The member that leads, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != 0)
    }

    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// The last entry of the log, agreed on or not.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// Every 100 ms, while the group has more than one member.
    pub fn tick(&mut self) {
        if self.has_peers() {
            self.node.tick();
        }
    }

    /// Whether there is anybody to agree with. Without peers time means nothing to the group.
    pub fn has_peers(&self) -> bool {
        !self.node.store().is_only_voter(self.node.raft.id)
    }

    /// Puts bytes before the group.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError::Propose`] when there is no leader, or too much is under way.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<(), RaftError> {
        let propose = |source| RaftError::Propose { source };
        self.node.propose(Vec::new(), data).map_err(propose)
    }

    /// Takes in a message of another member.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError::Step`] for messages that no member sends.
    pub fn step(&mut self, message: Message) -> Result<(), RaftError> {
        let step = |source| RaftError::Step { source };
        self.node.step(message).map_err(step)
    }

    /// The write with this number, and all before it, are on disk.
    ///
    /// The node may be told of a number only when all writes up to it are done, also of those
    /// ready states in between that had nothing to write.
    pub fn persisted(&mut self, number: u64) -> Vec<Event> {
        self.writing.retain(|waiting| *waiting > number);
        let done = self.writing.first().map_or(self.last, |next| next - 1);
        self.node.on_persist_ready(done);
        let later = self.held.split_off(&(done + 1));
        let free = std::mem::replace(&mut self.held, later);
        let sends = free.into_values().flatten().map(send);
        let mut events: Vec<Event> = sends.collect();
        events.extend(self.drain());
        events
    }

    /// Everything that has come out of the node since the last call.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.take(ready, &mut events);
        }
        events
    }

    /// The state up to `index` is in a snapshot on disk: the log before it is not needed.
    pub fn compact(&mut self, index: u64) {
        self.node.mut_store().compact(index);
    }

    /// The position of an applied entry, for the snapshot of the state after it.
    pub fn position(&self, index: u64) -> Position {
        self.node.store().position(index)
    }

    fn take(&mut self, mut ready: Ready, events: &mut Vec<Event>) {
        let number = ready.number();
        self.last = number;
        events.extend(ready.take_messages().into_iter().map(send));
        let entries = ready.take_entries();
        let vote = ready.hs().map(|hard| Vote {
            term: hard.term,
            candidate: hard.vote,
            commit: hard.commit,
        });
        self.node.mut_store().append(&entries, vote);
        let held = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let promised = vote.is_some_and(|vote| {
            vote.term != self.vote.term || vote.candidate != self.vote.candidate
        });
        self.vote = vote.unwrap_or(self.vote);
        self.node.advance_append_async(ready);

        // The commit index alone is not worth a write: it is found again at the next start.
        if !entries.is_empty() || promised {
            self.writing.insert(number);
            events.push(Event::Write(Write {
                number,
                vote: promised.then_some(self.vote),
                entries: entries.iter().map(Entry::from_raft).collect(),
            }));
        }
        if self.writing.is_empty() {
            self.node.on_persist_ready(number);
            events.extend(held.into_iter().map(send));
        } else if !held.is_empty() {
            self.held.insert(number, held);
        }
        for entry in &committed {
            events.push(Event::Committed(Entry::from_raft(entry)));
        }
        self.node.advance_apply();
    }
}

impl Entry {
    fn from_raft(entry: &::raft::eraftpb::Entry) -> Self {
        Self {
            index: entry.index,
            term: entry.term,
            kind: match entry.entry_type {
                EntryType::EntryNormal => EntryKind::Batch,
                EntryType::EntryConfChange => EntryKind::Members,
                EntryType::EntryConfChangeV2 => EntryKind::MembersV2,
            },
            data: entry.data.to_vec(),
        }
    }

    fn into_raft(self) -> ::raft::eraftpb::Entry {
        ::raft::eraftpb::Entry {
            index: self.index,
            term: self.term,
            entry_type: match self.kind {
                EntryKind::Batch => EntryType::EntryNormal,
                EntryKind::Members => EntryType::EntryConfChange,
                EntryKind::MembersV2 => EntryType::EntryConfChangeV2,
            },
            data: self.data.into(),
            ..::raft::eraftpb::Entry::default()
        }
    }
}

fn send(message: Message) -> Event {
    Event::Send(Box::new(message))
}

#[cfg(test)]
mod tests;
