//! One container's life on this host: bundle → shim → process → exit, with exec, attach and logs.
//!
//!     prepare ──► create ──────────► start ──► … ──► exit ──► remove
//!     (bundle)   (shim, namespaces,  (gate
//!                 waits at a gate)    opens)
//!
//! Between `create` and `start` the process waits inside its namespaces, so that the caller can
//! connect its network. What is true is on disk and in the kernel: `list` finds containers and
//! their shims again after the agent was killed.

pub mod capability;
pub mod device;
pub mod health;
pub mod log;
pub mod seccomp;
pub mod shim;
pub mod spec;
pub mod user;

mod cgroup;
mod confine;
mod driver;
mod exec;
mod failure;
pub(crate) mod files;
mod hook;
mod init;
mod kernel;
mod link;
mod overlay;
mod process;
mod program;
mod protocol;
mod record;
mod rootdir;
mod rootfs;
mod runtime;
mod sealed;
mod session;
mod sysctl;
mod trial;

pub use cgroup::controllers;
pub use driver::Containers;
pub use session::{AttachInput, AttachOutput, ExecControl, ExecSession};
pub use trial::unkept;

use std::io;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What `prepare` writes down, and `create` makes true.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The OCI configuration. `root.path` is ignored: the root is the overlay below.
    pub spec: Spec,
    /// Directories of the image's layers, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// Runs a small init as process 1 that forwards signals and reaps orphans.
    pub init: bool,
    pub log: LogOptions,
    /// Whether the container's standard input is kept open for attaching, and for how long.
    pub stdin: Stdin,
}

/// Limits of the log files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// `None`: no log is kept.
    pub files: Option<LogFiles>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// Bytes after which a file is rotated.
    pub max_size: u64,
    /// How many files are kept, the current one included.
    pub max_files: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Closed,
    Open,
    /// Closed when the first client that attached to it leaves.
    OpenOnce,
}

/// A container as found on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedContainer {
    pub id: ContainerId,
    /// The task of the latest run; `None` when it was never created.
    pub task: Option<TaskId>,
    pub phase: Phase,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The bundle is there; nothing runs.
    Prepared,
    /// The process waits at the gate.
    Created {
        pid: u32,
    },
    Running {
        pid: u32,
        started_at: Timestamp,
    },
    Ended(Exit),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n for signal n; 125 to 127 when it could not be started, as in Docker.
    pub code: i32,
    pub oom_killed: bool,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// Why it could not be started, or why nobody knows how it ended.
    pub error: Option<String>,
}

/// Sent when a run has ended, once for each run that ended while this process was looking.
#[derive(Clone, Debug)]
pub struct Ended {
    pub container: ContainerId,
    pub task: TaskId,
    pub exit: Exit,
}

/// A program to run in a running container, with the container's own confinement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecRequest {
    pub args: Vec<String>,
    /// Added to the container's environment, as `KEY=VALUE`.
    pub env: Vec<String>,
    pub working_dir: Option<String>,
    /// As in [`ContainerSpec::user`](scheduler::model::container::ContainerSpec::user).
    pub user: Option<String>,
    pub tty: bool,
    pub privileged: bool,
    /// Rows and columns.
    pub size: Option<(u16, u16)>,
}

/// A container whose process waits at the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Process 1 of the container, as the host numbers it; `/proc/PID/ns/net` is its network.
    pub pid: u32,
}

/// What a container uses at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu_nanos: u64,
    pub cpu_user_nanos: u64,
    pub cpu_system_nanos: u64,
    /// Bytes, page cache included.
    pub memory: u64,
    /// Bytes of page cache that could be dropped at once.
    pub memory_inactive_file: u64,
    /// Bytes; `None` without a limit.
    pub memory_limit: Option<u64>,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    /// Bytes since the start.
    pub io_read: u64,
    pub io_written: u64,
}

/// The current log file in a container's directory.
const LOG: &str = "log";

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("container {id} does not exist")]
    Unknown { id: ContainerId },
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("container {id} is already running")]
    AlreadyRunning { id: ContainerId },
    #[error("it has no terminal")]
    NoTerminal,
    /// A program could not be started; `code` is what Docker would exit with, 125 to 127.
    #[error("{message}")]
    Start { code: i32, message: String },
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the shim of container {id} does not answer: {reason}")]
    Shim { id: ContainerId, reason: String },
}
