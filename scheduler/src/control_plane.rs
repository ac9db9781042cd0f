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

pub mod command;
pub mod refusal;

mod cluster;
mod container;
mod deploy;
mod resource;
mod services;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ::raft::eraftpb::Message;

use crate::assignment::Assignment;
use crate::assignment::build::Builder;
use crate::model::id::NodeId;
use crate::model::time::Timestamp;
use crate::raft::{self, Entry, EntryKind, Event, Position, Raft, RaftError, Restored, Write};
use crate::reconcile::{self, reconcile};
use crate::report::Report;
use crate::state::draft::IdGenerator;
use crate::state::{Batch, Draft, RequestId, State};

pub use command::{Command, DeployOptions, Reply};
pub use refusal::Refusal;

/// Entries after which the state is written down whole, so that a start reads little.
const SNAPSHOT_EVERY: u64 = 2000;

/// What happens to the control plane.
#[derive(Debug)]
pub enum Input {
    /// Every 100 ms or so, and when a [`Output::Wake`] has come.
    Tick,
    Command {
        id: RequestId,
        command: Box<Command>,
    },
    Report {
        node: NodeId,
        report: Report,
    },
    /// The write with this number, and all before it, are on disk.
    Persisted {
        number: u64,
    },
    /// The snapshot of the state up to this entry is on disk.
    SnapshotSaved {
        index: u64,
    },
    /// From another member of the group.
    Message(Box<Message>),
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
    /// To the member of the group that the message names.
    Send(Box<Message>),
    Assign {
        node: NodeId,
        assignment: Arc<Assignment>,
    },
    Reply {
        id: RequestId,
        result: Result<Answer, Refusal>,
    },
    /// A tick is wanted at this time.
    Wake(Timestamp),
}

/// What became of a command, and since which revision of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub reply: Reply,
    pub revision: u64,
}

/// The cluster's brain on one member.
pub struct ControlPlane {
    raft: Raft,
    state: State,
    ids: IdGenerator,
    commands: VecDeque<(RequestId, Box<Command>)>,
    reports: Vec<(NodeId, Report)>,
    under_way: Option<UnderWay>,
    applied: Applied,
    /// Set until the first decision of a term has been made.
    fresh: bool,
    wake_at: Option<Timestamp>,
    nodes: BTreeMap<NodeId, Builder>,
}

/// The batch that has been put before the group.
struct UnderWay {
    index: u64,
    term: u64,
    requests: Vec<(RequestId, Reply)>,
}

#[derive(Clone, Copy, Default)]
struct Applied {
    index: u64,
    term: u64,
    /// Where the last snapshot was asked for.
    snapshot: u64,
}

impl ControlPlane {
    /// Goes on where the last run stopped; with nothing restored, founds a cluster of one.
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
            },
            fresh: true,
            wake_at: None,
            nodes: BTreeMap::new(),
        })
    }

    /// Everything that has been agreed on.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether regular ticks are wanted: a group of one needs only those of [`Output::Wake`].
    pub fn has_peers(&self) -> bool {
        self.raft.has_peers()
    }

    /// Whether this member decides, and has caught up with what was agreed on before.
    pub fn leads(&self) -> bool {
        self.raft.is_leader() && self.applied.term == self.raft.term()
    }

    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Tick => self.raft.tick(),
            Input::Command { id, command } => self.accept(id, command, &mut outputs),
            Input::Report { node, report } => self.reports.push((node, report)),
            Input::Persisted { number } => {
                let events = self.raft.persisted(number);
                self.absorb(events, &mut outputs);
            }
            Input::SnapshotSaved { index } => self.raft.compact(index),
            // A message that no member sends is as good as lost.
            Input::Message(message) => drop(self.raft.step(*message)),
        }
        let events = self.raft.drain();
        self.absorb(events, &mut outputs);
        self.decide(now, &mut outputs);
        outputs
    }

    fn accept(&mut self, id: RequestId, command: Box<Command>, outputs: &mut Vec<Output>) {
        if let Some(reply) = self.state.answer(&id) {
            let answer = Answer {
                reply: reply.clone(),
                revision: self.state.version,
            };
            outputs.push(reply_to(id, Ok(answer)));
            return;
        }
        self.commands.push_back((id, command));
    }

    /// Makes one batch of everything that waits, and puts it before the group.
    fn decide(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if self.under_way.is_some() {
            return;
        }
        if !self.leads() {
            self.send_away(outputs);
            return;
        }
        let due = self.wake_at.is_some_and(|at| at <= now);
        if !self.fresh && !due && self.commands.is_empty() && self.reports.is_empty() {
            return;
        }
        self.fresh = false;
        let (batch, unchanged) = self.draft(now, outputs);
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
        self.propose(batch, outputs);
    }

    /// Decides. Commands that changed nothing are returned apart: there is nothing to wait for.
    fn draft(
        &mut self,
        now: Timestamp,
        outputs: &mut Vec<Output>,
    ) -> (Batch, Vec<(RequestId, Reply)>) {
        let mut draft = Draft::new(&self.state, &mut self.ids, now);
        for (node, report) in self.reports.drain(..) {
            reconcile::observe(&mut draft, &node, &report);
        }
        let mut answers = Vec::new();
        for (id, command) in self.commands.drain(..) {
            let mark = draft.mark();
            match carry_out(&mut draft, *command) {
                Ok(reply) => answers.push((id, reply)),
                Err(refusal) => {
                    draft.rewind(mark);
                    outputs.push(reply_to(id, Err(refusal)));
                }
            }
        }
        self.wake_at = reconcile(&mut draft);
        let changes = draft.into_changes();
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
        (batch, unchanged)
    }

    fn propose(&mut self, batch: Batch, outputs: &mut Vec<Output>) {
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
            requests: batch.answers,
        });
        let events = self.raft.drain();
        self.absorb(events, outputs);
    }

    fn absorb(&mut self, events: Vec<Event>, outputs: &mut Vec<Output>) {
        let mut changed = false;
        for event in events {
            match event {
                Event::Write(write) => outputs.push(Output::Write(write)),
                Event::Send(message) => outputs.push(Output::Send(message)),
                Event::Committed(entry) => {
                    changed = true;
                    self.apply(&entry, outputs);
                }
            }
        }
        if changed && self.leads() {
            self.assign(outputs);
        }
        self.snapshot(outputs);
    }

    fn apply(&mut self, entry: &Entry, outputs: &mut Vec<Output>) {
        if entry.term != self.applied.term {
            self.fresh = true;
        }
        self.applied.index = entry.index;
        self.applied.term = entry.term;
        let mut applied = false;
        if entry.kind == EntryKind::Batch && !entry.data.is_empty() {
            // A batch that cannot be read, or is stale, is nothing on every member alike.
            let batch = serde_json::from_slice::<Batch>(&entry.data);
            applied = batch.is_ok_and(|batch| self.state.apply(&batch).is_ok());
        }
        let Some(under_way) = self.under_way.take_if(|it| it.index <= entry.index) else {
            return;
        };
        let ours = under_way.index == entry.index && under_way.term == entry.term && applied;
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

    /// Tells each node what it must run, if that has changed.
    fn assign(&mut self, outputs: &mut Vec<Output>) {
        self.nodes.retain(|id, _| self.state.nodes.contains_key(id));
        for id in self.state.nodes.keys() {
            let builder = self.nodes.entry(id.clone()).or_default();
            if let Some(assignment) = builder.update(&self.state, id) {
                outputs.push(Output::Assign {
                    node: id.clone(),
                    assignment,
                });
            }
        }
    }

    fn snapshot(&mut self, outputs: &mut Vec<Output>) {
        if self.applied.index < self.applied.snapshot + SNAPSHOT_EVERY {
            return;
        }
        self.applied.snapshot = self.applied.index;
        outputs.push(Output::Snapshot {
            position: self.raft.position(self.applied.index),
            state: Box::new(self.state.clone()),
        });
    }

    /// A member that does not lead decides nothing. A group of one leads as soon as its log is read.
    fn send_away(&mut self, outputs: &mut Vec<Output>) {
        if self.raft.is_leader() {
            return;
        }
        for (id, _) in self.commands.drain(..) {
            outputs.push(reply_to(id, Err(Refusal::NotLeader)));
        }
        self.reports.clear();
    }
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
        } => cluster::join(
            draft,
            node,
            cluster::Newcomer {
                description,
                role,
                address,
                public_key,
            },
        ),
        Command::UpdateNode { node, update } => cluster::update(draft, &node, &update),
        Command::RemoveNode { node, force } => cluster::remove(draft, &node, force),
        Command::LeaveCluster { node, force } => cluster::leave(draft, &node, force),
        Command::RotateToken { role, secret } => cluster::rotate_token(draft, role, secret),
        Command::SetNodeAddress { node, address } => cluster::set_address(draft, &node, address),
    }
}

fn reply_to(id: RequestId, result: Result<Answer, Refusal>) -> Output {
    Output::Reply { id, result }
}

#[cfg(test)]
pub(crate) mod tests;
