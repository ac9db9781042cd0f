//! Consensus over opaque bytes: the `raft` crate's `RawNode` behind a few words of ours.
//!
//!     propose ─► entry ─► Write (to disk) ─► persisted ─► Committed
//!                   └────► Send (to peers) ─► step ──┘
//!
//! Nothing here waits. A [`Write`] is handed out, the caller makes it durable in its own time and
//! says so with [`Raft::persisted`]; meanwhile the node goes on (the `raft` crate's asynchronous
//! ready). The log lives in memory; the disk only has to give it back at the next start.
//!
//! A group of one elects itself on the spot. Its next members join the same log: they begin with
//! nothing, vote for nothing, and are sent the state by the leader ([`Event::Install`]).
//!
//! What the `raft` crate leaves to its user, and where it is done: a change of members takes effect
//! when it is taken out of the log ([`Raft::drain`]), and the commit index is written together with
//! the entries, so that a start never falls back behind the members that a later entry relies on;
//! elections are spread without chance, so that equal input gives equal output.

pub mod log;
pub mod members;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::raft::eraftpb::{EntryType, MessageType};
use ::raft::{Config, RawNode, Ready, SnapshotStatus, StateRole};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use ::raft::eraftpb::Message;

pub use self::log::{Keep, Log};
pub use self::members::Members;
use crate::model::id::NodeId;

/// How often [`Raft::tick`] is called.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks after which a silent leader counts as gone. Followers stand for election after 16 to 27 of
/// them, no two at the same time and the first one after 16, which is 0.8 s: writes are accepted
/// again within 1.5 s, even when the votes and the first entry wait 100 ms for a disk each, the
/// first to stand has a log that is too short, or his question is lost. Shorter, and a busy machine
/// loses its leader for nothing.
const ELECTION_TICKS: usize = 14;
/// The others must have given up the leader too, or they refuse to vote: they may be a heartbeat
/// behind.
const FIRST_STAND: usize = ELECTION_TICKS + HEARTBEAT_TICKS;
const LAST_STAND: usize = 2 * ELECTION_TICKS;
const HEARTBEAT_TICKS: usize = 2;
/// Who has stood for election asks again after so many ticks, and as many more for each one before
/// him in the row. The question whether he may stand is answered at once, without a disk; but who has
/// heard of the leader a little later than he did does not answer at all, and with the time of a first
/// stand for each try, one lost question cost more than a second.
const ASK_AGAIN: usize = 4;
/// Votes wait for two disks; and two who have stood at the same time must not do so again.
const STAND_AGAIN: usize = 8;
/// Entries that were proposed and not agreed on yet, in bytes; more are refused.
const MOST_UNCOMMITTED: u64 = 64 << 20;

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    /// All copies of an entry share it.
    pub data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Up to where a snapshot of the state reaches, and who took part there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub index: u64,
    pub term: u64,
    #[serde(flatten)]
    pub members: Members,
}

/// What the last run left on disk. With no members in it, a member waits until the leader of a
/// group tells it of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    pub vote: Vote,
    /// Everything up to here is in the snapshot.
    pub snapshot: Position,
    /// What follows on the snapshot, without gaps.
    pub entries: Vec<Entry>,
}

impl Restored {
    /// The beginning of a group of one.
    pub fn founded(id: u64) -> Self {
        Self {
            snapshot: Position {
                members: Members::alone(id),
                ..Position::default()
            },
            ..Self::default()
        }
    }
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
    /// The state up to this position, as [`Raft::offer`] was given it by the leader, takes the place
    /// of the whole log. A [`Write`] follows, and neither may reach the disk without the other.
    Install {
        position: Position,
        state: Vec<u8>,
    },
    Send(Box<Message>),
    /// Agreed on, in order, each once.
    Committed(Entry),
    /// What was agreed on before [`Raft::read`] was called ends at or before this entry.
    Read {
        id: u64,
        index: u64,
    },
}

/// What became of a state that was sent to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Done,
    Failed,
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
    /// The write that a state which took the place of the log waits for.
    installing: Option<u64>,
    /// What came out at the start.
    early: Vec<Event>,
}

/// The number of a node in the group: the first bytes of its identifier's SHA-256, never zero.
pub fn number_of(node: &NodeId) -> u64 {
    let hash: [u8; 32] = Sha256::digest(node.as_str().as_bytes()).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

impl Raft {
    /// Starts a member. The only voter leads when this returns.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError`] when what was restored contradicts itself.
    pub fn start(id: u64, restored: Restored) -> Result<Self, RaftError> {
        let vote = restored.vote;
        let applied = restored.snapshot.index;
        let log = Log::new(restored)?;
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            min_election_tick: FIRST_STAND,
            max_election_tick: LAST_STAND,
            applied,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            max_uncommitted_size: MOST_UNCOMMITTED,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let start = |source| RaftError::Start { source };
        let mut raft = Self {
            node: RawNode::new(&config, log, &logger).map_err(start)?,
            writing: BTreeSet::new(),
            last: 0,
            held: BTreeMap::new(),
            vote,
            installing: None,
            early: Vec::new(),
        };
        raft.spread();
        // What was agreed on before comes first: it may say who takes part.
        raft.early = raft.drain();
        raft.stand_alone();
        Ok(raft)
    }

    pub fn id(&self) -> u64 {
        self.node.raft.id
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

    /// The last entry that is known to be agreed on.
    pub fn committed(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Who takes part, as of the last entry that was taken out.
    pub fn members(&self) -> &Members {
        self.node.store().members()
    }

    /// As the leader sees them: the last entry that each member is known to have.
    pub fn matched(&self) -> BTreeMap<u64, u64> {
        let progress = self.node.raft.prs().iter();
        progress.map(|(id, it)| (*id, it.matched)).collect()
    }

    /// Every [`TICK`], while [`Raft::has_peers`].
    pub fn tick(&mut self) {
        // Nobody stands for election while the state that it was sent is not on disk: the log begins
        // behind it, and what was applied ends before.
        if self.installing.is_some() {
            return;
        }
        if self.members().is_only_voter(self.id()) && !self.is_leader() {
            self.stand_alone();
        } else if self.has_peers() {
            self.node.tick();
            self.spread();
            self.insist();
        }
    }

    /// Whether there is anybody to agree with or to wait for. Without peers time means nothing to
    /// the group.
    pub fn has_peers(&self) -> bool {
        let members = self.members();
        !members.is_only_voter(self.id()) || !members.learners.is_empty()
    }

    /// Puts bytes before the group.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError::Propose`] when this member does not lead, or too much is under way.
    pub fn propose(&mut self, data: Vec<u8>) -> Result<(), RaftError> {
        let propose = |source| RaftError::Propose { source };
        if !self.is_leader() {
            // The node would pass it on and forget it.
            return Err(propose(::raft::Error::ProposalDropped));
        }
        // It stays in memory for a while, and was written into twice the room that it needs.
        let data = data.into_boxed_slice().into_vec();
        self.node.propose(Vec::new(), data).map_err(propose)
    }

    /// Puts a change of the members before the group. It is nothing while another one is under way.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError::Propose`] when this member does not lead.
    pub fn propose_members(&mut self, change: &members::Change) -> Result<(), RaftError> {
        let propose = |source| RaftError::Propose { source };
        if !self.is_leader() || self.node.raft.has_pending_conf() {
            return Err(propose(::raft::Error::ProposalDropped));
        }
        let change = change.to_raft();
        self.node
            .propose_conf_change(Vec::new(), change)
            .map_err(propose)
    }

    /// The leader makes way for another voter, once that one has caught up.
    pub fn transfer(&mut self, to: u64) {
        self.node.transfer_leader(to);
    }

    /// It is making way: until that has come to an end, nothing can be put before the group.
    pub fn is_transferring(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Asks up to where the log is agreed on; [`Event::Read`] tells, unless the leader changes or a
    /// message is lost: whoever waits asks again.
    pub fn read(&mut self, id: u64) {
        self.node.read_index(id.to_be_bytes().to_vec());
    }

    /// Takes in a message of another member.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError::Step`] for messages that no member sends.
    pub fn step(&mut self, mut message: Message) -> Result<(), RaftError> {
        let step = |source| RaftError::Step { source };
        let kind = message.get_msg_type();
        if message.to != self.id() || message.from == self.id() || !is_sent(kind) {
            return Err(step(::raft::Error::StepLocalMsg));
        }
        if kind == MessageType::MsgTimeoutNow && self.installing.is_some() {
            // It would stand for election at once.
            return Ok(());
        }
        if kind == MessageType::MsgHeartbeat {
            // A member that has lost its log must not stop the whole process.
            message.commit = message.commit.min(self.last_index());
        }
        let stepped = self.node.step(message).map_err(step);
        self.spread();
        stepped
    }

    /// Messages to this member do not arrive.
    pub fn unreachable(&mut self, member: u64) {
        self.node.report_unreachable(member);
    }

    /// The state that was sent to this member has arrived there, or will not.
    pub fn sent_state(&mut self, member: u64, delivery: Delivery) {
        let status = match delivery {
            Delivery::Done => SnapshotStatus::Finish,
            Delivery::Failed => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(member, status);
    }

    /// Whether a member is so far behind that it needs the state itself: then [`Raft::offer`].
    pub fn wants_state(&self) -> bool {
        self.is_leader() && self.node.store().wants_state()
    }

    /// The state as of the last entry that was taken out, for members that are far behind.
    pub fn offer(&mut self, index: u64, state: Vec<u8>) {
        self.node.mut_store().offer(index, state);
    }

    /// The write with this number, and all before it, are on disk.
    ///
    /// The node may be told of a number only when all writes up to it are done, also of those
    /// ready states in between that had nothing to write.
    pub fn persisted(&mut self, number: u64) -> Vec<Event> {
        self.writing.retain(|waiting| *waiting > number);
        let done = self.writing.first().map_or(self.last, |next| next - 1);
        self.node.on_persist_ready(done);
        if self.installing.is_some_and(|install| install <= done) {
            self.installing = None;
            self.node.advance_apply();
        }
        let later = self.held.split_off(&(done + 1));
        let free = std::mem::replace(&mut self.held, later);
        let sends = free.into_values().flatten().map(send);
        let mut events: Vec<Event> = sends.collect();
        events.extend(self.drain());
        self.stand_alone();
        events.extend(self.drain());
        events
    }

    /// Everything that has come out of the node since the last call.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.early);
        while self.node.has_ready() {
            let ready = self.node.ready();
            self.take(ready, &mut events);
        }
        events
    }

    /// The state up to `index` is in a snapshot on disk: a start does not need the log before it.
    pub fn compact(&mut self, index: u64, keep: Keep) {
        let keep = if self.has_peers() {
            keep
        } else {
            Keep::default()
        };
        self.node.mut_store().compact(index, keep);
    }

    /// The position of the last entry that was taken out, for the snapshot of the state after it.
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
        let installed = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        if let Some(snapshot) = &installed {
            let position = self.node.mut_store().install(snapshot);
            self.installing = Some(number);
            let state = snapshot.data.to_vec();
            events.push(Event::Install { position, state });
        }
        self.node.mut_store().append(&entries, vote);
        let held = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let reads = ready.take_read_states();
        let promised = vote.is_some_and(|vote| {
            vote.term != self.vote.term || vote.candidate != self.vote.candidate
        });
        self.vote = vote.unwrap_or(self.vote);
        self.node.advance_append_async(ready);

        // The commit index alone is not worth a write. With entries it is written, so that a start
        // knows of every change of members that they rely on.
        if !entries.is_empty() || promised || installed.is_some() {
            self.writing.insert(number);
            events.push(Event::Write(Write {
                number,
                vote: Some(self.vote),
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
            let entry = Entry::from_raft(entry);
            self.change_members(&entry);
            events.push(Event::Committed(entry));
        }
        events.extend(reads.iter().filter_map(|read| {
            let id = u64::from_be_bytes(read.request_ctx.as_slice().try_into().ok()?);
            let index = read.index;
            Some(Event::Read { id, index })
        }));
        if self.installing.is_none() {
            self.node.advance_apply();
        }
    }

    /// A change that cannot be read or does not fit is nothing on every member alike.
    fn change_members(&mut self, entry: &Entry) {
        let Some(change) = wire::change(entry) else {
            return;
        };
        let Ok(state) = self.node.apply_conf_change(&change) else {
            return;
        };
        let members = Members::from_raft(&state);
        let out = !members.contains(self.id());
        self.node.mut_store().set_members(members);
        if out && self.is_leader() {
            // The node would go on as a leader who is no member, and stop over it.
            let term = self.term();
            self.node.raft.become_follower(term, 0);
        }
        self.spread();
    }

    /// The only voter needs no election. What is still on its way to the disk comes first.
    fn stand_alone(&mut self) {
        let alone = self.members().is_only_voter(self.id());
        if alone && !self.is_leader() && self.writing.is_empty() && self.installing.is_none() {
            // It cannot fail: it only counts as a message of its own.
            let _ = self.node.campaign();
        }
    }

    /// Gives each voter a time of its own at which it stands for election, another one each term.
    /// The leader needs none: with it out of the row, somebody is always first.
    fn spread(&mut self) {
        let (turn, count) = self.turn();
        let stand = FIRST_STAND + turn * (LAST_STAND - FIRST_STAND) / count;
        self.node.raft.set_randomized_election_timeout(stand);
    }

    /// Its place in the row of those who may lead next, and how long the row is.
    fn turn(&self) -> (usize, usize) {
        let (id, leader) = (self.id(), self.leader());
        let others = self.members().voters.iter();
        let others: Vec<u64> = others.filter(|it| Some(**it) != leader).copied().collect();
        let count = others.len().max(1);
        let place = others.iter().position(|it| *it == id).unwrap_or(0);
        let term = usize::try_from(self.term() % count as u64).unwrap_or(0);
        ((place + term) % count, count)
    }

    /// Whoever stands has given up the leader, and does not wait for the next try as long as for the
    /// first one. A leader who is still there is not disturbed: those who hear him do not answer.
    fn insist(&mut self) {
        let (turn, _) = self.turn();
        let pause = match self.node.raft.state {
            StateRole::Follower | StateRole::Leader => return,
            StateRole::PreCandidate => ASK_AGAIN * (1 + turn),
            StateRole::Candidate => STAND_AGAIN + ASK_AGAIN * turn,
        };
        let raft = &mut self.node.raft;
        let left = raft.randomized_election_timeout().saturating_sub(pause);
        raft.election_elapsed = raft.election_elapsed.max(left);
    }
}

/// What members send each other; the node's own events and proposals never travel.
fn is_sent(kind: MessageType) -> bool {
    match kind {
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgSnapshot
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => true,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => false,
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
            data: entry.data.clone(),
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
            data: self.data,
            ..::raft::eraftpb::Entry::default()
        }
    }
}

fn send(message: Message) -> Event {
    Event::Send(Box::new(message))
}

#[cfg(test)]
mod tests;
