//! A host as the node loop sees it: something that can be looked at, and that carries out one
//! operation at a time for each thing.
//!
//! [`LinuxHost`](linux::LinuxHost) is the real one. Deciding what to do belongs to
//! [`plan`](crate::plan); a host never decides.

pub mod linux;
#[cfg(test)]
pub mod simulated;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::{AssignedNetwork, AssignedTask, Assignment};
use scheduler::model::cluster::Secret;
use scheduler::model::id::{ContainerId, NetworkId, TaskId};
use scheduler::model::task::Health;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;

use crate::container::Exit;

/// What is there, as far as the node has been told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub containers: BTreeMap<ContainerId, SeenContainer>,
    /// As they were last made; `None` for one that was found and must be made anew.
    pub networks: BTreeMap<NetworkId, Option<Arc<AssignedNetwork>>>,
    pub volumes: BTreeMap<String, VolumeSpec>,
}

/// A container as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenContainer {
    /// The task of its latest run; `None` when it never had one.
    pub task: Option<TaskId>,
    pub phase: Phase,
    pub stop: Option<Stopping>,
    pub health: Option<Health>,
    pub hooks: Hooks,
    pub image_id: Option<String>,
    /// Published ports as they were bound: target `80/tcp` to host port.
    pub ports: BTreeMap<String, u16>,
}

impl SeenContainer {
    pub fn new(task: Option<TaskId>, phase: Phase) -> Self {
        Self {
            task,
            phase,
            stop: None,
            health: None,
            hooks: Hooks::Idle,
            image_id: None,
            ports: BTreeMap::new(),
        }
    }
}

impl Phase {
    /// It has a process.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Found { .. } | Self::Running { .. })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Something of it is on disk; it must be prepared (again) before it can start.
    Bare,
    Prepared,
    /// It runs since before this process began: nobody serves its names, ports and health yet.
    Found {
        started_at: Timestamp,
    },
    Running {
        pid: u32,
        started_at: Timestamp,
    },
    /// It ended, and still holds its ports, addresses and files in memory.
    Ended(Exit),
    /// It ended and holds nothing but its files.
    Released(Exit),
    /// It could not be prepared; the same task is not tried again.
    Rejected {
        reason: String,
        at: Timestamp,
    },
}

/// How far the commands are that accompany a container's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// None is due.
    #[default]
    Idle,
    /// It has started, and not all of those have run that follow.
    AfterStart,
    /// One of them has failed, for this reason: it must not go on.
    Failed(String),
    /// Those before the stop have run.
    BeforeStop,
}

impl Hooks {
    /// What is due of a container that has just started.
    pub fn after_start_of(task: &AssignedTask) -> Self {
        match task.spec.post_start.is_empty() {
            true => Self::Idle,
            false => Self::AfterStart,
        }
    }
}

/// It was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// When it was first told.
    pub since: Timestamp,
    /// What it was told last; its own stop signal when absent.
    pub signal: Option<String>,
    pub by: Means,
}

/// How far it has been brought to end, or is being brought now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// It could not be told, and has to be told again.
    Nothing,
    Signal,
    Kill,
}

/// Everything that a container needs of its node's assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub task: Arc<AssignedTask>,
    /// The networks of its interfaces, in their order.
    pub networks: Vec<Arc<AssignedNetwork>>,
    /// The definitions of the named volumes that it mounts.
    pub volumes: Vec<VolumeSpec>,
    /// Contents of the secrets and configs that it is granted, by final name.
    pub secrets: BTreeMap<String, Arc<[u8]>>,
    pub configs: BTreeMap<String, Arc<[u8]>>,
    /// What to show to the registry of its image.
    pub login: Option<Secret>,
}

/// One thing to do. Each can be repeated without harm.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    EnsureNetwork(Arc<AssignedNetwork>),
    RemoveNetwork(NetworkId),
    EnsureVolume(VolumeSpec),
    RemoveVolume(String),
    /// Fetches the image, fills new volumes, writes the bundle.
    Prepare(Arc<Run>),
    /// Starts the process, connected to its networks.
    Start(Arc<Run>),
    /// Takes over a running container of an earlier process of this node.
    Adopt(Arc<Run>),
    /// Runs the commands that follow a start.
    PostStart(Arc<Run>),
    /// Runs the commands that come before a stop, within this time.
    PreStop {
        run: Arc<Run>,
        limit: Option<Duration>,
    },
    Signal {
        container: ContainerId,
        /// A name (`SIGTERM`) or a number; the image's stop signal when absent.
        signal: Option<String>,
    },
    /// Ends every process of the container at once.
    Kill(ContainerId),
    /// Gives back what an ended container holds: ports, addresses, secrets.
    Release(ContainerId),
    /// Deletes an ended container.
    Remove {
        container: ContainerId,
        volumes: AnonymousVolumes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonymousVolumes {
    Keep,
    Remove,
}

/// What an operation works on: a host does one operation at a time for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Network(NetworkId),
    Volume(String),
    Container(ContainerId),
}

impl Op {
    /// What it does, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EnsureNetwork(_) => "make a network",
            Self::RemoveNetwork(_) => "remove a network",
            Self::EnsureVolume(_) => "make a volume",
            Self::RemoveVolume(_) => "remove a volume",
            Self::Prepare(_) => "prepare a container",
            Self::Start(_) => "start a container",
            Self::Adopt(_) => "take over a container",
            Self::PostStart(_) => "run the commands after a start",
            Self::PreStop { .. } => "run the commands before a stop",
            Self::Signal { .. } => "signal a container",
            Self::Kill(_) => "kill a container",
            Self::Release(_) => "release a container",
            Self::Remove { .. } => "remove a container",
        }
    }

    pub fn subject(&self) -> Subject {
        match self {
            Self::EnsureNetwork(network) => Subject::Network(network.id.clone()),
            Self::RemoveNetwork(id) => Subject::Network(id.clone()),
            Self::EnsureVolume(spec) => Subject::Volume(spec.name.clone()),
            Self::RemoveVolume(name) => Subject::Volume(name.clone()),
            Self::Prepare(run)
            | Self::Start(run)
            | Self::Adopt(run)
            | Self::PostStart(run)
            | Self::PreStop { run, .. } => Subject::Container(run.task.container.clone()),
            Self::Signal { container, .. }
            | Self::Kill(container)
            | Self::Release(container)
            | Self::Remove { container, .. } => Subject::Container(container.clone()),
        }
    }
}

/// What an operation has brought about.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// What was asked, and nothing to add.
    Plainly,
    Prepared {
        image_id: String,
    },
    Started {
        pid: u32,
        started_at: Timestamp,
        ports: BTreeMap<String, u16>,
        /// `None` without a health check.
        health: Option<Health>,
        hooks: Hooks,
    },
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OpError {
    /// A sentence for the user, with its causes.
    pub reason: String,
    /// What Docker would have exited with, when a process could not be started.
    pub exit_code: Option<i32>,
}

impl OpError {
    /// Keeps an error with all its causes, as one line.
    pub fn because(error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = error.source();
        }
        Self {
            reason,
            exit_code: None,
        }
    }
}

/// Something that happened without being asked for.
#[derive(Clone, Debug)]
pub enum HostEvent {
    Ended {
        container: ContainerId,
        task: TaskId,
        exit: Exit,
    },
    Health {
        container: ContainerId,
        task: TaskId,
        health: Health,
    },
}

/// Carries out operations on one machine.
pub trait Host: Send + Sync + 'static {
    /// Looks at everything that is there, after a start.
    fn observe(&self) -> impl Future<Output = Result<Observed, OpError>> + Send;
    fn execute(&self, op: &Op) -> impl Future<Output = Result<Done, OpError>> + Send;
    /// Names, virtual addresses and ports of services have changed; cheap, and never fails.
    fn announce(&self, assignment: &Assignment) -> impl Future<Output = ()> + Send;
}
