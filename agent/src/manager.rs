//! Gives the control plane what it does not have: time, a disk, and somebody to talk to.
//!
//!     command, report ─► [ loop: ControlPlane ] ─► Write ─► [ thread: disk ] ─► persisted ─┐
//!                            ▲      │   └─► state, assignment (watch channels)            │
//!                            │      └─► replies                                           │
//!                            └────────────────────────────────────────────────────────────┘
//!
//! One task owns the control plane; nothing else ever touches it. It never waits for the disk: what
//! comes in while a write is under way goes into the next batch. The state is published before the
//! reply to the command that changed it, so that whoever has a reply reads what it did.
//!
//! When the disk fails the manager stops deciding and says why; containers go on as they are.

mod disk;
mod wal;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::Assignment;
use scheduler::control_plane::{Answer, Command, ControlPlane, Input, Output, Refusal};
use scheduler::model::id::NodeId;
use scheduler::model::time::Timestamp;
use scheduler::raft::RaftError;
use scheduler::report::Report;
use scheduler::state::{RequestId, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::disk::{Disk, Done};
pub use self::wal::WalError;
use crate::clock::AdvancingClock;

/// What waits to be looked at: commands of a few hundred clients and the reports of all nodes.
const QUEUE: usize = 4096;
/// Taken in one go before anything is published.
const BURST: usize = 256;
/// Raft's clock.
const TICK: Duration = Duration::from_millis(100);

/// Where the manager keeps its log, and who it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Made if it is missing; nothing else may write into it.
    pub dir: PathBuf,
    pub node: NodeId,
}

/// Why the manager cannot start.
#[derive(Debug, Error)]
pub enum ManagerError {
    #[error("cannot prepare the manager's directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("another process uses the manager's directory {path}")]
    Locked { path: PathBuf },
    #[error("cannot read the log of decisions")]
    Wal(#[from] WalError),
    #[error("cannot go on from the log of decisions")]
    Raft(#[from] RaftError),
    #[error("cannot start the thread that writes")]
    Thread { source: io::Error },
}

/// The way to the manager. Cheap to clone; the manager ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Arc<State>>,
    assignment: watch::Receiver<Arc<Assignment>>,
}

#[derive(Debug)]
enum Request {
    Command {
        id: RequestId,
        command: Box<Command>,
        reply: oneshot::Sender<Result<Answer, Refusal>>,
    },
    Report {
        node: NodeId,
        report: Report,
    },
}

/// Starts managers.
#[derive(Debug)]
pub struct Manager;

impl Manager {
    /// Reads what the last run has left, and goes on from there.
    ///
    /// Must be called within a tokio runtime. A first start founds a cluster of one.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError`] when the directory cannot be used, or what is in it is damaged.
    pub fn start(config: Config) -> Result<ManagerHandle, ManagerError> {
        let (done, persisted) = mpsc::unbounded_channel();
        let (disk, restored, state) = Disk::open(&config.dir, done)?;
        let plane = ControlPlane::start(&config.node, rand::random(), restored, state)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (publish_state, state) = watch::channel(Arc::new(plane.state().clone()));
        let (publish_assignment, assignment) = watch::channel(Arc::default());
        let running = Loop {
            node: config.node,
            plane,
            disk,
            state: publish_state,
            assignment: publish_assignment,
            waiting: BTreeMap::new(),
            replies: VecDeque::new(),
            wake: None,
            clock: AdvancingClock::start(),
            failed: None,
        };
        tokio::spawn(running.run(queue, persisted));
        Ok(ManagerHandle {
            requests,
            state,
            assignment,
        })
    }
}

impl ManagerHandle {
    /// Carries out a command. When this returns, what was decided is on disk and in [`Self::state`].
    ///
    /// # Errors
    ///
    /// Returns why the command was refused; nothing has changed then.
    pub async fn command(&self, command: Command) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command {
            id: RequestId(format!("{:032x}", rand::random::<u128>()).into()),
            command: Box::new(command),
            reply,
        };
        let stopped = || Refusal::Stopped {
            reason: "it is shutting down".to_owned(),
        };
        self.requests.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Hands over what a node says. Waits only when the manager is far behind; what is lost is said
    /// again with the next report.
    pub async fn report(&self, node: NodeId, report: Report) {
        // A manager that has stopped needs no reports.
        let _ = self.requests.send(Request::Report { node, report }).await;
    }

    /// Everything that has been decided.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// The state, and each one that follows.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// What this node must run. Generation zero is no assignment yet: a node does nothing on it.
    pub fn assignments(&self) -> watch::Receiver<Arc<Assignment>> {
        self.assignment.clone()
    }
}

/// The task that owns the control plane.
struct Loop {
    node: NodeId,
    plane: ControlPlane,
    disk: Disk,
    state: watch::Sender<Arc<State>>,
    assignment: watch::Sender<Arc<Assignment>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    /// Answers that are given once the state they belong to has been published.
    replies: VecDeque<(RequestId, Result<Answer, Refusal>)>,
    wake: Option<Timestamp>,
    clock: AdvancingClock,
    /// Why nothing is decided any more.
    failed: Option<String>,
}

impl Loop {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Request>,
        mut persisted: mpsc::UnboundedReceiver<Done>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.input(Input::Tick);
        self.publish();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some(done) = persisted.recv() => {
                    self.done(done);
                    self.take(|| persisted.try_recv().ok(), Self::done);
                }
                request = queue.recv() => {
                    let Some(request) = request else { break };
                    self.request(request);
                    self.take(|| queue.try_recv().ok(), Self::request);
                }
                () = tokio::time::sleep_until(wake) => {
                    self.wake = None;
                    self.input(Input::Tick);
                }
                _ = ticks.tick(), if self.plane.has_peers() => self.input(Input::Tick),
            }
            self.publish();
        }
    }

    /// Looks at what else has come in, up to a bound.
    fn take<T>(&mut self, mut next: impl FnMut() -> Option<T>, handle: impl Fn(&mut Self, T)) {
        for _ in 0..BURST {
            let Some(item) = next() else { return };
            handle(self, item);
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Command { id, command, reply } => {
                if let Some(reason) = self.failed.clone() {
                    // Whoever asked may have left.
                    let _ = reply.send(Err(Refusal::Stopped { reason }));
                    return;
                }
                self.waiting.insert(id.clone(), reply);
                self.input(Input::Command { id, command });
            }
            Request::Report { node, report } => self.input(Input::Report { node, report }),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written { number } => self.input(Input::Persisted { number }),
            Done::Saved { index } => self.input(Input::SnapshotSaved { index }),
            Done::Failed { reason } => self.fail(&reason),
        }
    }

    /// What was not written was not decided: those who wait are told, and nothing new is begun.
    fn fail(&mut self, reason: &str) {
        tracing::error!(reason, "the control plane cannot write and stops deciding");
        self.failed = Some(reason.to_owned());
        for (_, reply) in std::mem::take(&mut self.waiting) {
            let reason = reason.to_owned();
            let _ = reply.send(Err(Refusal::Stopped { reason }));
        }
    }

    fn input(&mut self, input: Input) {
        if self.failed.is_some() {
            return;
        }
        let now = self.clock.now();
        for output in self.plane.handle(input, now) {
            match output {
                Output::Write(write) => self.disk.write(write),
                Output::Snapshot { position, state } => self.disk.save(position, *state),
                Output::Assign { node, assignment } => {
                    if node == self.node {
                        self.assignment.send_replace(assignment);
                    }
                }
                Output::Reply { id, result } => self.replies.push_back((id, result)),
                Output::Wake(at) => self.wake = Some(at),
                // A group of one has nobody to write to.
                Output::Send(_) => {}
            }
        }
    }

    /// The state first, then the replies: what was done can be read by those who asked for it.
    fn publish(&mut self) {
        let state = self.plane.state();
        if self.state.borrow().version != state.version {
            self.state.send_replace(Arc::new(state.clone()));
        }
        for (id, result) in self.replies.drain(..) {
            if let Some(reply) = self.waiting.remove(&id) {
                let _ = reply.send(result);
            }
        }
    }

    fn wake_at(&mut self) -> Instant {
        // Far enough away to be never; the ticks come before.
        let never = Duration::from_secs(3600);
        let now = self.clock.now();
        let wait = self.wake.map_or(never, |at| at.since(now));
        Instant::now() + wait.min(never)
    }
}

#[cfg(test)]
mod tests;
