//! A manager: a real control plane, with a disk that takes its time and forgets what it was not
//! given time for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::control_plane::recover::recover;
use scheduler::control_plane::{ControlPlane, Input, Output};
use scheduler::model::id::NodeId;
use scheduler::model::time::Timestamp;
use scheduler::raft::{Entry, Position, Restored, Vote, Write};
use scheduler::state::State;

use crate::rules::Rule;

/// A member that is away for some seconds must be sent the state, not the log.
const SNAPSHOT_EVERY: u64 = 12;

/// What a power cut leaves.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    vote: Vote,
    snapshot: Position,
    state: State,
    entries: Vec<Entry>,
}

/// One thing that is made durable as a whole.
pub(crate) enum Job {
    Write(Write),
    Save(Position, Box<State>),
    Install(Position, Box<State>),
}

impl Disk {
    pub(crate) fn founded(number: u64) -> Self {
        Self {
            snapshot: Restored::founded(number).snapshot,
            ..Self::default()
        }
    }

    fn restored(&self) -> (Restored, State) {
        let restored = Restored {
            vote: self.vote,
            snapshot: self.snapshot.clone(),
            entries: self.entries.clone(),
        };
        (restored, self.state.clone())
    }

    /// What `cluster recover` makes of it; returns the version of the state it goes on with.
    pub(crate) fn recover(&mut self, node: &NodeId, now: Timestamp) -> Result<u64, String> {
        let (restored, state) = self.restored();
        let recovered = recover(node, restored, state, now);
        let (restored, state) = recovered.map_err(|error| error.to_string())?;
        let version = state.version;
        *self = Self {
            vote: restored.vote,
            snapshot: restored.snapshot,
            state,
            entries: restored.entries,
        };
        Ok(version)
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Write(write) => {
                self.vote = write.vote.unwrap_or(self.vote);
                for entry in write.entries.iter() {
                    while self
                        .entries
                        .last()
                        .is_some_and(|last| last.index >= entry.index)
                    {
                        self.entries.pop();
                    }
                    self.entries.push(entry.clone());
                }
            }
            Job::Save(position, state) => {
                self.entries.retain(|entry| entry.index > position.index);
                (self.snapshot, self.state) = (position, *state);
            }
            Job::Install(position, state) => {
                self.entries.clear();
                (self.snapshot, self.state) = (position, *state);
            }
        }
    }
}

/// A running process of a manager.
pub(crate) struct Member {
    pub(crate) plane: ControlPlane,
    /// Handed to the disk, and not done yet.
    jobs: VecDeque<Job>,
    /// The last write that was claimed to be done.
    claimed: u64,
    pub(crate) assignments: BTreeMap<NodeId, Arc<Assignment>>,
    /// Its clock follows the date forward, and never goes back.
    clock: (u64, u64),
}

impl Member {
    pub(crate) fn start(node: &NodeId, seed: [u8; 32], disk: &Disk, date: u64, now: u64) -> Self {
        let (restored, state) = disk.restored();
        let plane = ControlPlane::start(node, seed, restored, state);
        Self {
            plane: plane
                .expect("what was written can be read")
                .with_snapshots_every(SNAPSHOT_EVERY),
            jobs: VecDeque::new(),
            claimed: 0,
            assignments: BTreeMap::new(),
            clock: (date, now),
        }
    }

    /// `date` and `now` in microseconds: what its host believes, and what is so.
    pub(crate) fn time(&mut self, date: u64, now: u64) -> Timestamp {
        let own = self.clock.0 + (now - self.clock.1);
        self.clock = (own.max(date), now);
        Timestamp::from_nanos(self.clock.0 * 1000)
    }

    pub(crate) fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Output> {
        let outputs = self.plane.handle(input, now);
        let mut rest = Vec::with_capacity(outputs.len());
        for output in outputs {
            match output {
                Output::Write(write) => self.jobs.push_back(Job::Write(write)),
                Output::Snapshot { position, state } => {
                    self.jobs.push_back(Job::Save(position, state));
                }
                Output::Install { position, state } => {
                    self.jobs.push_back(Job::Install(position, state));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// What a node must run now; it is remembered.
    pub(crate) fn assign(&mut self, node: &NodeId) -> Option<Arc<Assignment>> {
        let assignment = self.plane.announced().assignment(node)?;
        self.assignments.insert(node.clone(), assignment.clone());
        Some(assignment)
    }

    /// Jobs that are not done yet.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The disk is done with so many of them; what the control plane is told.
    pub(crate) fn sync(&mut self, disk: &mut Disk, count: usize) -> Vec<Input> {
        let mut done = Vec::new();
        for job in self.jobs.drain(..count.min(self.jobs.len())) {
            match &job {
                Job::Write(write) => done.push(Input::Persisted {
                    number: write.number,
                }),
                Job::Save(position, _) => done.push(Input::SnapshotSaved {
                    index: position.index,
                }),
                Job::Install(..) => {}
            }
            disk.carry_out(job);
        }
        done
    }

    /// The rule that is broken: what was only handed over counts as written.
    pub(crate) fn claim_sync(&mut self, broken: Option<Rule>) -> Vec<Input> {
        if broken != Some(Rule::WaitForTheDisk) {
            return Vec::new();
        }
        let writes = self.jobs.iter().filter_map(|job| match job {
            Job::Write(write) => Some(write.number),
            Job::Save(..) | Job::Install(..) => None,
        });
        let number = writes.max().filter(|number| *number > self.claimed);
        self.claimed = number.unwrap_or(self.claimed);
        let claim = number.map(|number| Input::Persisted { number });
        claim.into_iter().collect()
    }

    /// Power is cut: the disk may still have done the first few of its jobs. What is torn is as good
    /// as not there: what is written at once is sealed at once, and read as a whole or not at all.
    pub(crate) fn crash(self, disk: &mut Disk, done: usize) {
        for job in self.jobs.into_iter().take(done) {
            disk.carry_out(job);
        }
    }
}
