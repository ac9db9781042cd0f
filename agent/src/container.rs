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
pub mod spec;
pub mod user;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::Spec;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// What `prepare` writes down, and `create` makes true.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The OCI configuration. `root.path` is ignored: the root is the overlay below.
    pub spec: Spec,
    /// Directories of the image's layers, the uppermost first.
    pub layers: Vec<PathBuf>,
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
#[derive(Clone, Debug, Default)]
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

/// Drives the containers below one root directory.
pub struct Containers {
    root: PathBuf,
}

impl Containers {
    /// Opens the driver, and takes over the shims of an earlier agent.
    ///
    /// `root` keeps bundles, writable layers, logs and exit codes; `exec_root` (on tmpfs) keeps
    /// sockets. The receiver hears of each run that ends from now on.
    pub async fn open(
        root: &Path,
        exec_root: &Path,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Ended>), ContainerError> {
        let _ = exec_root;
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
}

#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("container {id} does not exist")]
    Unknown { id: ContainerId },
}
