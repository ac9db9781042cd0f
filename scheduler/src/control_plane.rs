//! Input in, output out: the cluster loop without its clock, its disk and its network.
//!
//!     Command ─┐
//!     Report ──┼─► decide ─► Batch ─► raft ─► Write ─► Persisted ─► State ─► Assign, Reply
//!     Tick ────┘   (draft)
//!
//! One batch is under way at a time. What comes in meanwhile waits and goes into the next one
//! together, so that a slow disk makes batches larger, not the queue longer. Each batch is decided
//! on the state that the one before has made, and reconciled to the end: between two batches there
//! is nothing left to do but what time brings ([`Output::Wake`]).
//!
//! Only the leader decides. A member that loses the leadership tells everybody who waits to ask the
//! next one, under the same request id: what the old one had put before the group is either found
//! in the new leader's state, answer included, or never will be carried out.

pub mod command;
pub mod group;
pub mod recover;
pub mod refusal;

mod clock;
mod cluster;
mod container;
mod deploy;
mod liveness;
mod resource;
mod services;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::clock::Clock;
use self::group::{Group, PATIENCE};
use self::liveness::{Liveness, Verdict};
use serde::{Deserialize, Serialize};

use crate::assignment::build::{Announced, Announcer, Touched};
use crate::model::id::NodeId;
use crate::model::time::Timestamp;
use crate::raft::{
    self, Delivery, Entry, EntryKind, Event, Keep, Message, Position, Raft, RaftError, Restored,
    Write, wire,
};
use crate::reconcile::{self, Memory, reconcile};
use crate::report::Report;
use crate::state::draft::IdGenerator;
use crate::state::{Batch, Change, Draft, RequestId, State};

pub use cluster::row as find_node;
pub use command::{Command, DeployOptions, Reply};
pub use group::Standing;
pub use refusal::{Busy, Refusal};

/// Entries after which the state is written down whole, so that a start reads little.
const SNAPSHOT_EVERY: u64 = 2000;
/// The same in bytes, since the log stays in memory until then: a quarter of what the state has, so that
/// little is written for what it keeps, but not less and not more than this.
const SNAPSHOT_BYTES: [usize; 2] = [256 << 10, 256 << 20];
/// Never more than this stays in memory behind a snapshot, in bytes.
const KEPT_BYTES: usize = 32 << 20;
/// About a quarter of what a task or a node takes in a snapshot, in bytes.
const ROW: usize = 1 << 8;
/// Commands that wait while the group cannot agree; more are refused at once.
const MOST_WAITING: usize = 4096;

/// What happens to the control plane.
#[derive(Debug)]
pub enum Input {
    /// Every [`raft::TICK`] of a monotonic clock while [`ControlPlane::needs_ticks`], and when the
    /// time of an [`Output::Wake`] has come.
    Tick,
    /// The time of an [`Output::Wake`] has come.
    Woken,
    /// Answered within ten seconds, whatever happens. The same id may be sent again, also through
    /// another member: it is carried out once.
    Command {
        id: RequestId,
        command: Box<Command>,
    },
    Report {
        node: NodeId,
        report: Report,
    },
    /// A node lives. Sessions of a node count up.
    Heard {
        node: NodeId,
        session: u64,
    },
    /// Somebody wants to see everything that was agreed on up to now. No other read has this id.
    Read {
        id: u64,
    },
    /// The write with this number, and all before it, are on disk.
    Persisted {
        number: u64,
    },
    /// The snapshot of the state up to this entry is on disk.
    SnapshotSaved {
        index: u64,
    },
    /// Nothing can be written for the time being, for want of room. The next [`Input::Persisted`]
    /// says that there is some again.
    DiskFull,
    /// From another member of the group.
    Message(Box<Message>),
    /// Messages to this member do not arrive.
    Unreachable {
        member: u64,
    },
    /// What became of the state that a message carried to this member; see
    /// [`wire::carries_state`].
    StateSent {
        member: u64,
        delivery: Delivery,
    },
}

/// What the control plane wants done.
#[derive(Debug)]
pub enum Output {
    /// To be made durable, in order; then [`Input::Persisted`].
    Write(Write),
    /// To be made durable; then [`Input::SnapshotSaved`], and the log up to it may be dropped.
    Snapshot {
        position: Position,
        state: Box<State>,
    },
    /// Takes the place of the snapshot and of the whole log, in one step. The [`Output::Write`]
    /// that follows says when it is done.
    Install {
        position: Position,
        state: Box<State>,
    },
    /// To the member of the group that the message names.
    Send(Box<Message>),
    /// The node has something new to run: [`ControlPlane::announced`] says what.
    Assign { node: NodeId },
    Reply {
        id: RequestId,
        result: Result<Answer, Refusal>,
    },
    /// The state contains everything that was agreed on when this read was asked for.
    ReadReady { id: u64 },
    /// [`Input::Woken`] is wanted at this time.
    Wake(Timestamp),
}

/// What became of a command, and since which revision of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub reply: Reply,
    pub revision: u64,
}

/// The cluster's brain on one member.
pub struct ControlPlane {
    node: NodeId,
    raft: Raft,
    state: State,
    ids: IdGenerator,
    commands: VecDeque<Waiting>,
    reports: Vec<(NodeId, Report)>,
    under_way: Option<UnderWay>,
    applied: Applied,
    /// Set until the first decision of a term has been made.
    fresh: bool,
    /// The last term in which this member led.
    led: u64,
    clock: Clock,
    wake_at: Option<Timestamp>,
    memory: Memory,
    announcer: Announcer,
    /// What has changed since the nodes were told.
    touched: Touched,
    group: Group,
    liveness: Liveness,
    /// Rows of nodes that no longer say what is so.
    verdicts: Vec<Verdict>,
    snapshot_every: u64,
}

/// A command that has not been decided on yet.
struct Waiting {
    id: RequestId,
    command: Box<Command>,
    /// The tick in which it came.
    since: u64,
}

/// The batch that has been put before the group.
struct UnderWay {
    index: u64,
    term: u64,
    /// The tick in which it was.
    since: u64,
    requests: Vec<(RequestId, Reply)>,
    /// What the state becomes if the group agrees: who has worked that out need not read it.
    outcome: State,
    touched: Touched,
}

/// What one decision has come to.
struct Decided {
    batch: Batch,
    outcome: State,
    /// Commands that changed nothing: there is nothing to wait for.
    unchanged: Vec<(RequestId, Reply)>,
}

#[derive(Clone, Copy, Default)]
struct Applied {
    index: u64,
    term: u64,
    /// Where the last snapshot was asked for.
    snapshot: u64,
    /// What has been applied since then.
    bytes: usize,
}

impl ControlPlane {
    /// Goes on where the last run stopped. What was restored says who takes part:
    /// [`Restored::founded`] begins a cluster of one, and with nobody in it the member waits until
    /// a leader sends it the state.
    ///
    /// `seed` must be a different one at each start: identifiers are made of it.
    ///
    /// # Errors
    ///
    /// Returns [`RaftError`] when what was restored contradicts itself.
    pub fn start(
        node: &NodeId,
        seed: [u8; 32],
        restored: Restored,
        state: State,
    ) -> Result<Self, RaftError> {
        let index = restored.snapshot.index;
        let term = restored.snapshot.term;
        Ok(Self {
            node: node.clone(),
            raft: Raft::start(raft::number_of(node), restored)?,
            state: state.indexed(),
            ids: IdGenerator::new(seed),
            commands: VecDeque::new(),
            reports: Vec::new(),
            under_way: None,
            applied: Applied {
                index,
                term,
                snapshot: index,
                bytes: 0,
            },
            fresh: true,
            led: 0,
            clock: Clock::default(),
            wake_at: None,
            memory: Memory::default(),
            announcer: Announcer::default(),
            touched: Touched::default(),
            group: Group::default(),
            liveness: Liveness::default(),
            verdicts: Vec::new(),
            snapshot_every: SNAPSHOT_EVERY,
        })
    }

    /// So many entries make a snapshot: a simulation wants to see more of them.
    #[must_use]
    pub fn with_snapshots_every(mut self, entries: u64) -> Self {
        self.snapshot_every = entries;
        self
    }

    /// Everything that has been agreed on, as far as this member has heard.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What nodes must run, while this member leads.
    pub fn announced(&self) -> &Announced {
        self.announcer.announced()
    }

    /// Whether regular ticks are wanted: a host that stands alone needs only [`Output::Wake`], and
    /// these while a read has not been answered.
    pub fn needs_ticks(&self) -> bool {
        self.raft.has_peers() || self.state.nodes.len() > 1 || self.group.is_asked()
    }

    /// Whether this member decides, and has caught up with what was agreed on before.
    pub fn leads(&self) -> bool {
        self.raft.is_leader() && self.applied.term == self.raft.term()
    }

    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.clock.read(now, self.needs_ticks());
        match input {
            Input::Tick => self.tick(&mut outputs),
            Input::Woken => {}
            Input::Command { id, command } => self.accept(id, command, &mut outputs),
            Input::Report { node, report } => self.reports.push((node, report)),
            Input::Heard { node, session } => self.liveness.hear(node, session),
            Input::Read { id } => self.read(id),
            Input::Persisted { number } => {
                self.group.has_room();
                let events = self.raft.persisted(number);
                self.absorb(events, &mut outputs);
            }
            // Half of the way to the next one.
            Input::SnapshotSaved { index } => {
                let keep = Keep {
                    entries: self.snapshot_every / 2,
                    bytes: KEPT_BYTES.min(self.most_log() / 4),
                };
                self.raft.compact(index, keep);
            }
            Input::DiskFull => self.group.lacks_room(),
            Input::Message(message) => self.step(*message),
            Input::Unreachable { member } => self.raft.unreachable(member),
            Input::StateSent { member, delivery } => self.raft.sent_state(member, delivery),
        }
        let events = self.raft.drain();
        self.absorb(events, &mut outputs);
        self.decide(now, &mut outputs);
        outputs
    }

    /// A message that no member sends, or that cannot be read, is as good as lost.
    fn step(&mut self, message: Message) {
        if wire::carries_state(&message) && read_state(&message.get_snapshot().data).is_none() {
            return;
        }
        let from = message.from;
        if self.raft.step(message).is_ok() {
            self.group.see(from, self.liveness.ticks());
        }
    }

    fn accept(&mut self, id: RequestId, command: Box<Command>, outputs: &mut Vec<Output>) {
        if self.leads()
            && let Some(answer) = self.answer(&id)
        {
            outputs.push(reply_to(id, Ok(answer)));
            return;
        }
        let waits = self.commands.iter().any(|waiting| waiting.id == id);
        let proposed = self.under_way.as_ref();
        if waits || proposed.is_some_and(|it| it.requests.iter().any(|(known, _)| *known == id)) {
            return;
        }
        if self.commands.len() >= MOST_WAITING {
            let reason = "too many commands wait already".to_owned();
            outputs.push(reply_to(id, Err(Refusal::Stopped { reason })));
            return;
        }
        self.commands.push_back(Waiting {
            id,
            command,
            since: self.liveness.ticks(),
        });
    }

    /// What a command that was carried out before was answered.
    fn answer(&self, id: &RequestId) -> Option<Answer> {
        let reply = self.state.answer(id)?.clone();
        let revision = self.state.version;
        Some(Answer { reply, revision })
    }

    /// Makes one batch of everything that waits, and puts it before the group.
    fn decide(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if !self.raft.is_leader() {
            self.step_aside(outputs);
            return;
        }
        if self.under_way.is_some() || !self.leads() || self.raft.is_transferring() {
            return;
        }
        if self.led != self.raft.term() {
            self.led = self.raft.term();
            self.liveness.lead();
            self.clock.doubt();
        }
        let due = self.wake_at.is_some_and(|at| at <= now);
        let asked = !self.commands.is_empty() || !self.reports.is_empty();
        if !self.fresh && !due && !asked && self.verdicts.is_empty() {
            return;
        }
        self.fresh = false;
        let Decided {
            batch,
            outcome,
            unchanged,
        } = self.draft(now, outputs);
        for (id, reply) in unchanged {
            let revision = self.state.version;
            outputs.push(reply_to(id, Ok(Answer { reply, revision })));
        }
        if let Some(at) = self.wake_at {
            outputs.push(Output::Wake(at));
        }
        if batch.is_empty() {
            self.assign(outputs);
            return;
        }
        self.propose(batch, outcome, outputs);
    }

    fn draft(&mut self, now: Timestamp, outputs: &mut Vec<Output>) -> Decided {
        let waiting = std::mem::take(&mut self.commands);
        let suspects = self.liveness.suspects(&self.state, &self.node);
        let voters = self.voters();
        let mut draft = Draft::new(&self.state, &mut self.ids, now)
            .suspecting(suspects)
            .voted_on_by(voters);
        // Only where something is counted: else there is nothing to write down.
        // The doubt stays until then.
        let is_counted = self.state.unfinished_services().next().is_some();
        if is_counted && self.clock.is_doubted() {
            draft.push(Change::SteadySince(now));
        }
        for verdict in self.verdicts.drain(..) {
            pronounce(&mut draft, verdict);
        }
        for (node, report) in self.reports.drain(..) {
            reconcile::observe(&mut draft, &node, &report);
        }
        let mut answers = Vec::new();
        for Waiting { id, command, .. } in waiting {
            // It may have been carried out by the leader before this one.
            if let Some(reply) = self.state.answer(&id) {
                let (reply, revision) = (reply.clone(), self.state.version);
                outputs.push(reply_to(id, Ok(Answer { reply, revision })));
                continue;
            }
            let mark = draft.mark();
            match carry_out(&mut draft, *command) {
                Ok(reply) => answers.push((id, reply)),
                Err(refusal) => {
                    draft.rewind(mark);
                    outputs.push(reply_to(id, Err(refusal)));
                }
            }
        }
        self.wake_at = reconcile(&mut draft, &mut self.memory);
        let (changes, mut outcome) = draft.into_parts();
        let (answers, unchanged) = if changes.is_empty() {
            (Vec::new(), answers)
        } else {
            (answers, Vec::new())
        };
        let batch = Batch {
            base: self.state.version,
            at: now,
            changes,
            answers,
        };
        outcome.complete(&batch);
        Decided {
            batch,
            outcome,
            unchanged,
        }
    }

    fn propose(&mut self, batch: Batch, outcome: State, outputs: &mut Vec<Output>) {
        let touched = Touched::by(&batch.changes, &self.state, &outcome);
        let proposed = serde_json::to_vec(&batch)
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.raft.propose(bytes).map_err(|error| error.to_string()));
        if let Err(reason) = proposed {
            // Nothing was decided; what was reported is said again by the nodes, or seen at the
            // next decision.
            self.fresh = true;
            for (id, _) in batch.answers {
                let reason = reason.clone();
                outputs.push(reply_to(id, Err(Refusal::Stopped { reason })));
            }
            return;
        }
        self.under_way = Some(UnderWay {
            index: self.raft.last_index(),
            term: self.raft.term(),
            since: self.liveness.ticks(),
            requests: batch.answers,
            outcome,
            touched,
        });
        let events = self.raft.drain();
        self.absorb(events, outputs);
    }

    fn absorb(&mut self, events: Vec<Event>, outputs: &mut Vec<Output>) {
        let mut changed = false;
        for event in events {
            match event {
                Event::Write(write) => outputs.push(Output::Write(write)),
                Event::Install { position, state } => self.install(position, &state, outputs),
                Event::Send(message) => outputs.push(Output::Send(message)),
                Event::Committed(entry) => {
                    changed = true;
                    self.apply(&entry, outputs);
                }
                Event::Read { id, index } => self.agreed(id, index),
            }
        }
        if changed && self.leads() {
            self.assign(outputs);
        }
        self.answer_reads(outputs);
        self.snapshot(outputs);
    }

    /// The leader's state takes the place of this one's, which was too far behind.
    fn install(&mut self, position: Position, state: &[u8], outputs: &mut Vec<Output>) {
        // It was read once before it was let in.
        let Some(state) = read_state(state) else {
            return;
        };
        self.state = state.indexed();
        self.touched = Touched::anything();
        self.applied = Applied {
            index: position.index,
            term: position.term,
            snapshot: position.index,
            bytes: 0,
        };
        let state = Box::new(self.state.clone());
        outputs.push(Output::Install { position, state });
    }

    fn apply(&mut self, entry: &Entry, outputs: &mut Vec<Output>) {
        if entry.term != self.applied.term {
            self.fresh = true;
        }
        self.applied.index = entry.index;
        self.applied.term = entry.term;
        self.applied.bytes += entry.data.len();
        let under_way = self.under_way.take_if(|it| it.index <= entry.index);
        let Some(under_way) = under_way else {
            self.touched = Touched::anything();
            self.read_batch(entry);
            return;
        };
        let ours = under_way.index == entry.index
            && under_way.term == entry.term
            && under_way.outcome.version == self.state.version + 1;
        if ours {
            self.touched.extend(under_way.touched);
            self.adopt(entry, under_way.outcome);
        } else {
            self.touched = Touched::anything();
            self.read_batch(entry);
        }
        for (id, reply) in under_way.requests {
            let revision = self.state.version;
            let result = if ours {
                Ok(Answer { reply, revision })
            } else {
                Err(Refusal::Stale)
            };
            outputs.push(reply_to(id, result));
        }
    }

    /// A batch that cannot be read, or is stale, is nothing on every member alike.
    fn read_batch(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::Batch
            && !entry.data.is_empty()
            && let Ok(mut batch) = serde_json::from_slice::<Batch>(&entry.data)
        {
            self.state.share_words(&mut batch);
            // Stale: see above.
            let _ = self.state.apply(&batch);
        }
    }

    /// The leader's own batch: it was decided on this state, as only one is under way at a time.
    fn adopt(&mut self, entry: &Entry, outcome: State) {
        if cfg!(debug_assertions) {
            self.read_batch(entry);
            assert!(self.state == outcome, "the others come to another state");
        }
        self.state = outcome;
    }

    /// Tells each node what it must run, if that has changed.
    fn assign(&mut self, outputs: &mut Vec<Output>) {
        let touched = std::mem::take(&mut self.touched);
        let news = self.announcer.news(&self.state, touched);
        outputs.extend(news.into_iter().map(|node| Output::Assign { node }));
    }

    /// Everything is applied that has come out of the group: what is written down here is whole.
    fn snapshot(&mut self, outputs: &mut Vec<Output>) {
        // A state that cannot be written is asked for again.
        if self.raft.wants_state()
            && let Ok(state) = serde_json::to_vec(&self.state)
        {
            self.raft.offer(self.applied.index, state);
        }
        let is_short = self.applied.index < self.applied.snapshot + self.snapshot_every;
        if is_short && self.applied.bytes < self.most_log() {
            return;
        }
        self.applied.snapshot = self.applied.index;
        self.applied.bytes = 0;
        outputs.push(Output::Snapshot {
            position: self.raft.position(self.applied.index),
            state: Box::new(self.state.clone()),
        });
    }

    /// Bytes of the log that are worth a snapshot.
    fn most_log(&self) -> usize {
        let rows = self.state.tasks.len() + self.state.nodes.len();
        let [least, most] = SNAPSHOT_BYTES;
        (rows * ROW).clamp(least, most)
    }

    /// A member that does not lead decides nothing, and promises nothing any more. What it had put
    /// before the group may still be agreed on; the next leader knows.
    fn step_aside(&mut self, outputs: &mut Vec<Output>) {
        let under_way = self.under_way.take();
        let proposed = under_way.into_iter().flat_map(|it| it.requests);
        let waiting = std::mem::take(&mut self.commands);
        let ids = proposed
            .map(|(id, _)| id)
            .chain(waiting.into_iter().map(|waiting| waiting.id));
        let ids: BTreeSet<RequestId> = ids.collect();
        if !ids.is_empty() {
            let leader = self.leader();
            let refusal = |id| {
                reply_to(
                    id,
                    Err(Refusal::NotLeader {
                        leader: leader.clone(),
                    }),
                )
            };
            outputs.extend(ids.into_iter().map(refusal));
        }
        self.reports.clear();
        self.announcer = Announcer::default();
        self.verdicts.clear();
        self.memory = Memory::default();
        self.wake_at = None;
    }

    /// Nobody waits for ever for a group that cannot agree.
    fn expire(&mut self, tick: u64, outputs: &mut Vec<Output>) {
        let is_late = |since: u64| tick - since > PATIENCE;
        while let Some(waiting) = self.commands.pop_front_if(|it| is_late(it.since)) {
            outputs.push(reply_to(waiting.id, Err(Refusal::NoMajority)));
        }
        if let Some(under_way) = &mut self.under_way
            && is_late(under_way.since)
        {
            for (id, _) in std::mem::take(&mut under_way.requests) {
                outputs.push(reply_to(id, Err(Refusal::Unsettled)));
            }
        }
    }
}

/// Writes into a node's row what has become of it.
fn pronounce(draft: &mut Draft<'_>, verdict: Verdict) {
    let Some(node) = draft.state().nodes.get(&verdict.node) else {
        return;
    };
    if node.status == verdict.status {
        return;
    }
    let mut node = (**node).clone();
    node.status = verdict.status;
    node.status_reason = verdict.reason;
    node.status_since = draft.now;
    draft.push(Change::SetNode(Arc::new(node)));
}

fn read_state(bytes: &[u8]) -> Option<State> {
    serde_json::from_slice(bytes).ok()
}

/// Decides what follows from one command.
pub(crate) fn carry_out(draft: &mut Draft<'_>, command: Command) -> Result<Reply, Refusal> {
    match command {
        Command::Deploy { stack, options } => deploy::deploy(draft, stack, &options),
        Command::RemoveStack {
            stack,
            services,
            volumes,
            grace_seconds,
        } => services::remove_stack(draft, &stack, &services, volumes, grace_seconds),
        Command::StopServices {
            stack,
            services,
            grace_seconds,
        } => services::stop(draft, &stack, &services, None, grace_seconds),
        Command::KillServices {
            stack,
            services,
            signal,
        } => services::kill(draft, &stack, &services, signal),
        Command::StartServices { stack, services } => services::start(draft, &stack, &services),
        Command::RestartServices {
            stack,
            services,
            grace_seconds,
            dependents,
        } => services::restart(draft, &stack, &services, grace_seconds, dependents),
        Command::RemoveStopped {
            stack,
            services,
            running,
            volumes,
        } => services::remove_stopped(draft, &stack, &services, running, volumes),
        Command::RollBack { stack, services } => services::roll_back(draft, &stack, &services),
        Command::ScaleServices { stack, replicas } => services::scale(draft, &stack, &replicas),
        Command::CreateContainer {
            name,
            stack,
            spec,
            node,
        } => container::create(draft, name, stack, spec, node),
        Command::StartContainer { container } => container::start(draft, &container),
        Command::StopContainer { container, order } => container::stop(draft, &container, order),
        Command::RestartContainer { container, order } => {
            container::restart(draft, &container, &order)
        }
        Command::RemoveContainer {
            container,
            running,
            volumes,
        } => container::remove(draft, &container, running, volumes),
        Command::RenameContainer { container, name } => container::rename(draft, &container, &name),
        Command::CreateNetwork { spec } => resource::create_network(draft, spec),
        Command::RemoveNetwork { network } => resource::remove_network(draft, &network),
        Command::CreateVolume { spec } => resource::create_volume(draft, spec),
        Command::RemoveVolume { name } => resource::remove_volume(draft, &name),
        Command::CreateSecret { spec } => resource::create_content(draft, resource::SECRET, spec),
        Command::RemoveSecret { name } => resource::remove_content(draft, resource::SECRET, &name),
        Command::CreateConfig { spec } => resource::create_content(draft, resource::CONFIG, spec),
        Command::RemoveConfig { name } => resource::remove_content(draft, resource::CONFIG, &name),
        Command::RegisterNode { node, description } => {
            cluster::register_node(draft, node, description)
        }
        Command::InitCluster {
            cluster,
            node,
            address,
            public_key,
        } => cluster::init(draft, *cluster, &node, address, public_key),
        Command::JoinNode {
            node,
            description,
            role,
            address,
            public_key,
            availability,
        } => cluster::join(
            draft,
            node,
            cluster::Newcomer {
                description,
                role,
                address,
                public_key,
                availability,
            },
        ),
        Command::UpdateNode { node, update } => cluster::update(draft, &node, &update),
        Command::RemoveNode { node, force } => cluster::remove(draft, &node, force),
        Command::LeaveCluster { node, force } => cluster::leave(draft, &node, force),
        Command::RotateToken { role, secret } => cluster::rotate_token(draft, role, secret),
        Command::RotateAuthority {
            replaces,
            authority,
            tokens,
        } => cluster::rotate_authority(draft, &replaces, *authority, tokens),
        Command::UpdateCluster { update } => cluster::update_settings(draft, &update),
        Command::SetNodeAddress { node, address } => cluster::set_address(draft, &node, address),
    }
}

fn reply_to(id: RequestId, result: Result<Answer, Refusal>) -> Output {
    Output::Reply { id, result }
}

#[cfg(test)]
pub(crate) mod tests;
