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
mod failure;
mod init;
mod kernel;
mod overlay;
mod process;
mod program;
mod protocol;
mod record;
mod rootdir;
mod rootfs;
mod runtime;
mod sysctl;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oci_spec::runtime::Spec;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

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

/// Drives the containers below one root directory.
pub struct Containers {
    root: PathBuf,
}

impl Containers {
    /// Opens the driver, and takes over the shims of an earlier agent.
    ///
    /// `root` keeps bundles, writable layers, logs and exit codes; `exec_root` (on tmpfs) keeps
    /// sockets. The receiver hears of each run that ends from now on. The running program must
    /// call [`shim::run`] first thing in `main` when [`shim::is_shim`] says so.
    pub async fn open(
        root: &Path,
        exec_root: &Path,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Ended>), ContainerError> {
        Self::open_with(root, exec_root, Path::new("/proc/self/exe")).await
    }

    /// As [`Self::open`], with another program as the shim (tests: `CARGO_BIN_EXE_wharfie`).
    pub async fn open_with(
        root: &Path,
        exec_root: &Path,
        program: &Path,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Ended>), ContainerError> {
        let _ = (exec_root, program);
        let (_sender, receiver) = mpsc::channel(1);
        Ok((
            Arc::new(Self {
                root: root.to_owned(),
            }),
            receiver,
        ))
    }

    /// The directory that belongs to a container; removed with it.
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// The current log file of a container, for [`log::LogReader`].
    pub fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.directory(id).join("container.log")
    }

    /// Writes the bundle down. Replaces an earlier one; what the container wrote is kept.
    pub async fn prepare(&self, id: &ContainerId, bundle: Bundle) -> Result<(), ContainerError> {
        let _ = bundle;
        Err(ContainerError::unfinished(id))
    }

    /// Makes the namespaces and the process that waits in them, for a new run.
    ///
    /// Returns as soon as the network namespace exists; the file system is built meanwhile, and
    /// what goes wrong there is told by [`Self::start`].
    pub async fn create(&self, id: &ContainerId, task: &TaskId) -> Result<Created, ContainerError> {
        let _ = task;
        Err(ContainerError::unfinished(id))
    }

    /// Opens the gate: the container's program runs when this returns.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Start`] with Docker's exit code and wording; the run has then ended, and
    /// [`Ended`] tells it as well.
    pub async fn start(&self, id: &ContainerId) -> Result<Timestamp, ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// Sends a signal to process 1. A container that has ended is left alone.
    pub async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), ContainerError> {
        let _ = signal;
        Err(ContainerError::unfinished(id))
    }

    /// Kills every process of the container, also of one that was never started.
    pub async fn kill(&self, id: &ContainerId) -> Result<(), ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// What is true of one container; `None` when it was never prepared.
    pub async fn observe(&self, id: &ContainerId) -> Option<ObservedContainer> {
        let _ = id;
        None
    }

    /// Every container below the root.
    pub async fn list(&self) -> Result<Vec<ObservedContainer>, ContainerError> {
        Ok(Vec::new())
    }

    /// Runs a program in a running container.
    pub async fn exec(
        &self,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecSession, ContainerError> {
        let _ = request;
        Err(ContainerError::unfinished(id))
    }

    /// Connects to the standard streams of a created or running container, from now on.
    pub async fn attach(
        &self,
        id: &ContainerId,
    ) -> Result<(AttachOutput, AttachInput), ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// Sets the size of the container's terminal.
    pub async fn resize(
        &self,
        id: &ContainerId,
        rows: u16,
        columns: u16,
    ) -> Result<(), ContainerError> {
        let _ = (rows, columns);
        Err(ContainerError::unfinished(id))
    }

    pub async fn pause(&self, id: &ContainerId) -> Result<(), ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    pub async fn unpause(&self, id: &ContainerId) -> Result<(), ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// Whether the container's processes are frozen.
    pub async fn is_paused(&self, id: &ContainerId) -> Result<bool, ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// The processes of the container, as the host numbers them.
    pub async fn pids(&self, id: &ContainerId) -> Result<Vec<u32>, ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    pub async fn stats(&self, id: &ContainerId) -> Result<Stats, ContainerError> {
        Err(ContainerError::unfinished(id))
    }

    /// Kills and deletes everything of a container. It is no error if nothing is left of it.
    pub async fn remove(&self, id: &ContainerId) -> Result<(), ContainerError> {
        Err(ContainerError::unfinished(id))
    }
}

/// A program that runs in a container on somebody's behalf.
pub struct ExecSession {
    /// As the host numbers it.
    pub pid: u32,
    /// Dropping it closes the program's standard input (not with a terminal).
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// With a terminal, everything it shows.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// May be cloned and used from anywhere.
    pub control: ExecControl,
}

/// Waits for an exec, resizes its terminal, kills it.
#[derive(Clone)]
pub struct ExecControl {}

impl ExecControl {
    /// The exit code, once it has ended; 128 + n for signal n. May be called more than once.
    pub async fn wait(&self) -> Result<i32, ContainerError> {
        Err(ContainerError::Unfinished {
            what: "exec".into(),
        })
    }

    /// Waits at most this long, then kills it; `None` when it had to be killed.
    pub async fn wait_or_kill(&self, patience: Duration) -> Result<Option<i32>, ContainerError> {
        let _ = patience;
        Err(ContainerError::Unfinished {
            what: "exec".into(),
        })
    }

    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), ContainerError> {
        let _ = (rows, columns);
        Err(ContainerError::Unfinished {
            what: "exec".into(),
        })
    }

    /// Signals the program and its process group.
    pub async fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        let _ = signal;
        Err(ContainerError::Unfinished {
            what: "exec".into(),
        })
    }
}

/// What a container says while somebody is attached.
pub struct AttachOutput {}

impl AttachOutput {
    /// The next piece; `None` when the container has ended.
    pub async fn next(&mut self) -> Option<(log::Stream, Vec<u8>)> {
        None
    }
}

/// A container's standard input, for somebody who is attached.
pub struct AttachInput {}

impl AttachInput {
    pub async fn write(&mut self, data: &[u8]) -> Result<(), ContainerError> {
        let _ = data;
        Err(ContainerError::Unfinished {
            what: "attach".into(),
        })
    }

    /// Ends the container's standard input, if it is open only once; else only leaves.
    pub async fn close(&mut self) -> Result<(), ContainerError> {
        Err(ContainerError::Unfinished {
            what: "attach".into(),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("container {id} does not exist")]
    Unknown { id: ContainerId },
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("container {id} is already running")]
    AlreadyRunning { id: ContainerId },
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
    #[error("{what} is not finished")]
    Unfinished { what: String },
}

impl ContainerError {
    fn unfinished(id: &ContainerId) -> Self {
        Self::Unfinished {
            what: format!("running container {}", id.short()),
        }
    }
}
