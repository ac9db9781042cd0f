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
//! When the disk fails the manager stops deciding and says why; containers go on as they are. While
//! the disk is full it refuses what it is asked, makes way for another leader if there is one, and
//! goes on when there is room.
//!
//! With other members in the group, what it says to them goes through [`peers`], and what they say
//! comes in through [`ManagerHandle::deliver`].

mod disk;
pub mod forward;
pub mod peers;
mod reads;
mod wal;
pub mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::Assignment;
use scheduler::assignment::build::Announced;
use scheduler::control_plane::recover::{RecoverError, recover};
use scheduler::control_plane::{Answer, Command, ControlPlane, Input, Output, Refusal, Standing};
use scheduler::model::id::NodeId;
use scheduler::model::time::Timestamp;
use scheduler::raft::{self, Message, RaftError, TICK, Write};
use scheduler::report::Report;
use scheduler::state::{RequestId, State};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::disk::{Disk, Done};
use self::forward::Forward;
use self::peers::{Links, Outbox};
use self::reads::Reads;
pub use self::wal::WalError;
use crate::clock::{AdvancingClock, wall_time};
use crate::cluster::whereabouts::Whereabouts;
use crate::peer::Peers;
use crate::seal::NodeKey;

/// What waits to be looked at: commands of a few hundred clients and the reports of all nodes.
const QUEUE: usize = 4096;
/// Taken in one go before anything is published.
const BURST: usize = 256;
/// Nobody waits longer for the group to say what is agreed on.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Where the manager keeps its log, and who it is.
#[derive(Clone)]
pub struct Config {
    /// Made if it is missing; nothing else may write into it.
    pub dir: PathBuf,
    pub node: NodeId,
    /// What it keeps is sealed with it.
    pub key: NodeKey,
    pub start: Start,
    /// The way to the other members; a host that stands alone has none.
    pub links: Option<Arc<dyn Links>>,
}

/// What a manager with an empty directory does. One that has a log goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It founds a cluster of one.
    Found,
    /// It waits until the leader of a group sends it the state.
    Join,
}

/// The same, with the number of the node in the group.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    Found { number: u64 },
    Join { number: u64 },
}

impl Config {
    fn beginning(&self) -> Beginning {
        let number = raft::number_of(&self.node);
        match self.start {
            Start::Found => Beginning::Found { number },
            Start::Join => Beginning::Join { number },
        }
    }
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
    #[error("cannot make a cluster of one out of what is there")]
    Recover(#[from] RecoverError),
    #[error("the recovered state was not written: {reason}")]
    NotWritten { reason: String },
}

/// The way to the manager. Cheap to clone; the manager ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Arc<State>>,
    announced: watch::Receiver<Announced>,
    assignment: watch::Receiver<Arc<Assignment>>,
    standing: watch::Receiver<Arc<Standing>>,
    /// The way to the manager that leads; a host that stands alone has none.
    forward: Option<Forward>,
}

#[derive(Debug)]
enum Request {
    Command {
        id: RequestId,
        command: Box<Command>,
        reply: oneshot::Sender<Result<Answer, Refusal>>,
    },
    Read {
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// That needs no answer.
    Plain(Input),
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
        let (disk, restored, state) =
            Disk::open(&config.dir, &config.key, config.beginning(), done)?;
        let plane = ControlPlane::start(&config.node, rand::random(), restored, state)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (publish_state, state) = watch::channel(Arc::new(plane.state().clone()));
        let (publish_announced, announced) = watch::channel(Announced::default());
        let (publish_assignment, assignment) = watch::channel(Arc::default());
        let (publish_standing, standing) = watch::channel(Arc::default());
        let (outbox, notices) = Outbox::new(config.links);
        let running = Loop {
            node: config.node,
            plane,
            disk,
            outbox,
            state: publish_state,
            announced: publish_announced,
            has_news: false,
            assignment: publish_assignment,
            standing: publish_standing,
            waiting: BTreeMap::new(),
            reads: Reads::default(),
            replies: VecDeque::new(),
            wake: None,
            clock: AdvancingClock::start(),
            full: None,
            failed: None,
        };
        tokio::spawn(running.run(queue, persisted, notices));
        Ok(ManagerHandle {
            requests,
            state,
            announced,
            assignment,
            standing,
            forward: None,
        })
    }

    /// Makes a cluster of one out of what a manager has left on its disk, when the majority of its
    /// managers is gone for good. The manager must not run; start it afterwards.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError`] when it runs, when its directory cannot be used, or when it was no
    /// manager of a cluster. Nothing has changed then.
    pub async fn recover(config: &Config) -> Result<(), ManagerError> {
        let (done, mut written) = mpsc::unbounded_channel();
        let (disk, restored, state) =
            Disk::open(&config.dir, &config.key, config.beginning(), done)?;
        let (restored, state) = recover(&config.node, restored, state, wall_time())?;
        disk.install(restored.snapshot, Box::new(state));
        disk.write(Write {
            number: 1,
            vote: Some(restored.vote),
            entries: Arc::from([]),
        });
        drop(disk);
        let outcome = written.recv().await;
        // When the channel ends, the directory is free again. A full disk is tried again until nobody
        // listens.
        while !matches!(outcome, Some(Done::Full { .. })) && written.recv().await.is_some() {}
        match outcome {
            Some(Done::Written { .. }) => Ok(()),
            Some(Done::Failed { reason } | Done::Full { reason }) => {
                Err(ManagerError::NotWritten { reason })
            }
            Some(Done::Saved { .. }) | None => Err(ManagerError::NotWritten {
                reason: "the thread that writes has ended".to_owned(),
            }),
        }
    }
}

impl ManagerHandle {
    /// Commands go to the manager that leads when it is not this one.
    #[must_use]
    pub fn forwarding(mut self, own: NodeId, peers: Peers, whereabouts: Arc<Whereabouts>) -> Self {
        self.forward = Some(Forward {
            own,
            peers,
            whereabouts,
        });
        self
    }

    /// Carries out a command, here or where the leader is. When this returns, what was decided is
    /// on disk and in [`Self::state`].
    ///
    /// # Errors
    ///
    /// Returns why the command was refused; nothing has changed then, except after
    /// [`Refusal::Unsettled`], [`Refusal::Stale`] and [`Refusal::NoRoom`], when nobody knows.
    pub async fn command(&self, command: Command) -> Result<Answer, Refusal> {
        match &self.forward {
            Some(forward) => forward.carry_out(self, request_id(), command).await,
            None => self.command_as(request_id(), command).await,
        }
    }

    /// The same under an id of the caller's: with the same one it can be sent again, also to
    /// another manager, and is carried out once.
    ///
    /// # Errors
    ///
    /// Like [`Self::command`]; after [`Refusal::NotLeader`], [`Refusal::Stale`] and
    /// [`Refusal::Unsettled`] only another try can tell.
    pub async fn command_as(&self, id: RequestId, command: Command) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command {
            id,
            command: Box::new(command),
            reply,
        };
        self.requests.send(request).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// When this returns, [`Self::state`] contains everything that was agreed on before the call.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal::NoMajority`] when the group does not say so in time.
    pub async fn read(&self) -> Result<(), Refusal> {
        let (reply, ready) = oneshot::channel();
        let request = Request::Read { reply };
        self.requests.send(request).await.map_err(|_| stopped())?;
        match tokio::time::timeout(READ_PATIENCE, ready).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopped()),
            Err(_) => Err(Refusal::NoMajority),
        }
    }

    /// Hands over a message of another member. The caller knows that it comes from the member that
    /// it names.
    pub async fn deliver(&self, message: Message) {
        self.send(Input::Message(Box::new(message))).await;
    }

    /// A node has given a sign of life. Its sessions count up.
    pub async fn heard(&self, node: NodeId, session: u64) {
        self.send(Input::Heard { node, session }).await;
    }

    /// Hands over what a node says. Waits only when the manager is far behind; what is lost is said
    /// again with the next report.
    pub async fn report(&self, node: NodeId, report: Report) {
        self.send(Input::Report { node, report }).await;
    }

    async fn send(&self, input: Input) {
        // A manager that has stopped needs to know nothing.
        let _ = self.requests.send(Request::Plain(input)).await;
    }

    /// Everything that has been decided.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// The state, and each one that follows.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// What each node must run, while this manager leads.
    pub fn announced(&self) -> watch::Receiver<Announced> {
        self.announced.clone()
    }

    /// Who leads, who takes part, who is silent.
    pub fn standing(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.clone()
    }

    /// What this node must run. Generation zero is no assignment yet: a node does nothing on it.
    pub fn assignments(&self) -> watch::Receiver<Arc<Assignment>> {
        self.assignment.clone()
    }
}

fn request_id() -> RequestId {
    RequestId(format!("{:032x}", rand::random::<u128>()).into())
}

fn stopped() -> Refusal {
    Refusal::Stopped {
        reason: "it is shutting down".to_owned(),
    }
}

/// The task that owns the control plane.
struct Loop {
    node: NodeId,
    plane: ControlPlane,
    disk: Disk,
    outbox: Outbox,
    state: watch::Sender<Arc<State>>,
    announced: watch::Sender<Announced>,
    /// Some node has something new to run since that was published.
    has_news: bool,
    assignment: watch::Sender<Arc<Assignment>>,
    standing: watch::Sender<Arc<Standing>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    /// Answers that are given once the state they belong to has been published.
    replies: VecDeque<(RequestId, Result<Answer, Refusal>)>,
    reads: Reads,
    wake: Option<Timestamp>,
    clock: AdvancingClock,
    /// Why nothing can be written for the time being.
    full: Option<String>,
    /// Why nothing is decided any more.
    failed: Option<String>,
}

impl Loop {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Request>,
        mut persisted: mpsc::UnboundedReceiver<Done>,
        mut notices: mpsc::UnboundedReceiver<Input>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.input(Input::Woken);
        self.publish();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                // In this order: a loop that is busy must not look dead to the group.
                biased;
                _ = ticks.tick(), if self.plane.needs_ticks() => self.input(Input::Tick),
                Some(done) = persisted.recv() => {
                    self.done(done);
                    self.take(|| persisted.try_recv().ok(), Self::done);
                }
                request = queue.recv() => {
                    let Some(request) = request else { break };
                    self.request(request);
                    self.take(|| queue.try_recv().ok(), Self::request);
                }
                Some(notice) = notices.recv() => self.input(notice),
                () = tokio::time::sleep_until(wake) => {
                    self.wake = None;
                    self.input(Input::Woken);
                }
            }
            self.look_up();
            self.publish();
        }
    }

    /// Puts the question of all who want to read.
    fn look_up(&mut self) {
        if self.failed.is_some()
            && let Some(refusal) = self.refusal()
        {
            self.reads.refuse(&refusal);
        }
        if let Some(id) = self.reads.next(Instant::now(), rand::random()) {
            self.input(Input::Read { id });
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
                if let Some(refusal) = self.refusal() {
                    // Whoever asked may have left.
                    let _ = reply.send(Err(refusal));
                    return;
                }
                self.waiting.insert(id.clone(), reply);
                self.input(Input::Command { id, command });
            }
            Request::Read { reply } => self.reads.wait(reply),
            Request::Plain(input) => self.input(input),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written { number } => {
                self.full = None;
                self.input(Input::Persisted { number });
            }
            Done::Saved { index } => self.input(Input::SnapshotSaved { index }),
            Done::Full { reason } => {
                self.full = Some(reason);
                self.refuse_all();
                self.input(Input::DiskFull);
            }
            Done::Failed { reason } => self.fail(&reason),
        }
    }

    /// Why nothing is decided, if so.
    fn refusal(&self) -> Option<Refusal> {
        let stopped = self.failed.clone();
        let stopped = stopped.map(|reason| Refusal::Stopped { reason });
        stopped.or_else(|| self.full.clone().map(|reason| Refusal::NoRoom { reason }))
    }

    /// Nobody waits for what cannot be written.
    fn refuse_all(&mut self) {
        let Some(refusal) = self.refusal() else {
            return;
        };
        for (_, reply) in std::mem::take(&mut self.waiting) {
            let _ = reply.send(Err(refusal.clone()));
        }
    }

    /// What was not written was not decided: those who wait are told, and nothing new is begun.
    fn fail(&mut self, reason: &str) {
        tracing::error!(reason, "the control plane cannot write and stops deciding");
        self.failed = Some(reason.to_owned());
        self.refuse_all();
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
                Output::Install { position, state } => self.disk.install(position, state),
                Output::Assign { node } => self.assign(&node),
                Output::Reply { id, result } => self.replies.push_back((id, result)),
                Output::ReadReady { id } => self.reads.answer(id),
                Output::Wake(at) => self.wake = Some(at),
                Output::Send(message) => self.outbox.send(*message),
            }
        }
    }

    fn assign(&mut self, node: &NodeId) {
        self.has_news = true;
        if *node == self.node
            && let Some(assignment) = self.plane.announced().assignment(node)
        {
            self.assignment.send_replace(assignment);
        }
    }

    /// The state first, then the replies: what was done can be read by those who asked for it.
    fn publish(&mut self) {
        let state = self.plane.state();
        if self.state.borrow().version != state.version {
            self.state.send_replace(Arc::new(state.clone()));
            // Also when nobody has news, so that nothing keeps the state before.
            self.announce();
        } else if self.has_news {
            self.announce();
        }
        for (id, result) in self.replies.drain(..) {
            if let Some(reply) = self.waiting.remove(&id) {
                let _ = reply.send(result);
            }
        }
        self.reads.tell();
        let standing = self.plane.standing();
        if **self.standing.borrow() != standing {
            self.outbox
                .retain(|member| standing.members.contains(member));
            self.standing.send_replace(Arc::new(standing));
        }
    }

    /// Only news wake those who tell the nodes.
    fn announce(&mut self) {
        let has_news = std::mem::take(&mut self.has_news);
        self.announced.send_if_modified(|announced| {
            announced.clone_from(self.plane.announced());
            has_news
        });
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
