//! The agent's side: asks shims, reads records, and tells of each run that ends.
//!
//! Nothing is kept here that is not also on disk or in the kernel. For each living shim there is
//! one task that holds its connection; when that ends, the run has ended.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::time::Timestamp;
use tokio::sync::mpsc;

use super::cgroup::{Cgroup, Freeze};
use super::failure::Failure;
use super::link::Link;
use super::protocol::{Reply, Request};
use super::record::{self, BundleRecord, Durability, ExitRecord, RunRecord, StateRecord};
use super::session::{self, AttachInput, AttachOutput, ExecSession};
use super::{
    Bundle, ContainerError, Ended, ExecRequest, Exit, ObservedContainer, Phase, Stats, kernel,
    overlay, sealed,
};

mod create;
mod watch;

use watch::{end_shim, lost_exit};

/// Shared by all containers, beside their directories.
pub(super) const INIT_LAYER: &str = "init-layer";
// Every container of a large host may end at once.
const ENDED_QUEUE: usize = 4096;
/// Drives the containers below one root directory.
pub struct Containers {
    root: PathBuf,
    exec_root: PathBuf,
    program: OwnedFd,
    ended: mpsc::Sender<Ended>,
    /// Runs that have been written down, but whose shim has yet to say so.
    creating: Mutex<BTreeSet<ContainerId>>,
}

impl Containers {
    /// Opens the driver, and takes over the shims of an earlier agent.
    ///
    /// `root` keeps bundles, writable layers, logs and exit codes; `exec_root` (on tmpfs) keeps
    /// sockets. The receiver hears of each run that ends from now on. The running program must
    /// call [`super::shim::run`] first thing in `main` when [`super::shim::is_shim`] says so.
    pub async fn open(
        root: &Path,
        exec_root: &Path,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Ended>), ContainerError> {
        Self::open_with(root, exec_root, Path::new("/proc/self/exe")).await
    }

    /// As [`Self::open`], with another program as the shim.
    pub async fn open_with(
        root: &Path,
        exec_root: &Path,
        program: &Path,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Ended>), ContainerError> {
        let (ended, receiver) = mpsc::channel(ENDED_QUEUE);
        let (root, exec_root, program) =
            (root.to_owned(), exec_root.to_owned(), program.to_owned());
        let containers = blocking(move || {
            make_directory(&root)?;
            make_directory(&exec_root)?;
            let init_layer = root.join(INIT_LAYER);
            overlay::make_init_layer(&init_layer).map_err(doing("create", &init_layer))?;
            let program = sealed::copy(&program).map_err(doing("copy", &program))?;
            Ok(Arc::new(Self {
                root,
                exec_root,
                program,
                ended,
                creating: Mutex::default(),
            }))
        })
        .await?;
        containers.clone().take_over().await?;
        Ok((containers, receiver))
    }

    /// The directory that belongs to a container; removed with it.
    pub fn directory(&self, id: &ContainerId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// What all containers share lies here, beside their directories.
    pub(super) fn root_path(&self) -> &Path {
        &self.root
    }

    /// The current log file of a container, for [`super::log::LogReader`].
    pub fn log_path(&self, id: &ContainerId) -> PathBuf {
        self.directory(id).join(super::LOG)
    }

    /// Writes the bundle down. Replaces an earlier one; what the container wrote is kept.
    pub async fn prepare(&self, id: &ContainerId, bundle: Bundle) -> Result<(), ContainerError> {
        let directory = self.directory(id);
        blocking(move || {
            make_directory(&directory)?;
            let record = BundleRecord {
                layers: bundle.layers,
                init: bundle.init,
                log: bundle.log,
                stdin: bundle.stdin,
            };
            let path = directory.join(record::CONFIG);
            record::write(&directory, record::CONFIG, &bundle.spec, Durability::Atomic)
                .and_then(|()| {
                    record::write(&directory, record::BUNDLE, &record, Durability::Atomic)
                })
                .map_err(doing("write", &path))
        })
        .await
    }

    /// Opens the gate: the container's program runs when this returns.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Start`] with Docker's exit code and wording; the run has then ended, and
    /// [`Ended`] tells it as well.
    pub async fn start(&self, id: &ContainerId) -> Result<Timestamp, ContainerError> {
        let answer = match self.link(id) {
            Ok(link) => link.ask(&Request::Start).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Reply::Started { at }) => Ok(at),
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(reply) => Err(ContainerError::Shim {
                id: id.clone(),
                reason: format!("unexpected answer {reply:?}"),
            }),
            Err(error) => Err(self.why_not_started(id, error).await),
        }
    }

    /// The shim has gone before it could be asked: its record says why.
    async fn why_not_started(&self, id: &ContainerId, error: io::Error) -> ContainerError {
        match self.observe(id).await {
            Some(ObservedContainer {
                phase:
                    Phase::Ended(Exit {
                        code,
                        error: Some(message),
                        started_at: None,
                        ..
                    }),
                ..
            }) => ContainerError::Start { code, message },
            Some(ObservedContainer {
                phase: Phase::Created { .. } | Phase::Running { .. },
                ..
            }) => ContainerError::Shim {
                id: id.clone(),
                reason: error.to_string(),
            },
            Some(_) => ContainerError::NotRunning { id: id.clone() },
            None => ContainerError::Unknown { id: id.clone() },
        }
    }

    /// Sends a signal to process 1. A container that has ended is left alone.
    pub async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), ContainerError> {
        let Some(state) = self.living(id) else {
            return self.known(id);
        };
        if let Some(pidfd) = state.process.open() {
            // Fails only when it has just ended.
            let _ = kernel::pidfd_signal(&pidfd, signal);
        }
        if signal == libc::SIGKILL && self.is_paused(id).unwrap_or(false) {
            self.unpause(id).await?;
        }
        Ok(())
    }

    /// Kills every process of the container, also of one that was never started.
    pub async fn kill(self: &Arc<Self>, id: &ContainerId) -> Result<(), ContainerError> {
        let (this, id) = (self.clone(), id.clone());
        blocking(move || {
            if let Some(pidfd) = this.living(&id).and_then(|state| state.process.open()) {
                let _ = kernel::pidfd_signal(&pidfd, libc::SIGKILL);
            }
            if let Some(cgroup) = this.cgroup(&id)? {
                cgroup.kill();
            }
            this.known(&id)
        })
        .await
    }

    /// What is true of one container; `None` when it was never prepared.
    pub async fn observe(&self, id: &ContainerId) -> Option<ObservedContainer> {
        // Three small files, in memory as a rule.
        self.look(id)
    }

    /// Every container below the root.
    pub async fn list(&self) -> Result<Vec<ObservedContainer>, ContainerError> {
        Ok(self.ids()?.iter().filter_map(|id| self.look(id)).collect())
    }

    /// What was asked for and could not be had on this host, for people; of the current run.
    pub fn warnings(&self, id: &ContainerId) -> Vec<String> {
        self.living(id)
            .map(|state| state.warnings)
            .unwrap_or_default()
    }

    /// Runs a program in a running container.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Start`] with Docker's exit code and wording when the program cannot be run.
    pub async fn exec(
        &self,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecSession, ContainerError> {
        let link = self.link_to_running(id).await?;
        ExecSession::start(id, link, request).await
    }

    /// Connects to the standard streams of a created or running container, from now on.
    pub async fn attach(
        &self,
        id: &ContainerId,
    ) -> Result<(AttachOutput, AttachInput), ContainerError> {
        let link = self.link_to_running(id).await?;
        self.done(id, link.ask(&Request::Attach).await)?;
        Ok(session::attached(id, link))
    }

    /// Sets the size of the container's terminal.
    pub async fn resize(
        &self,
        id: &ContainerId,
        rows: u16,
        columns: u16,
    ) -> Result<(), ContainerError> {
        let link = self.link_to_running(id).await?;
        self.done(id, link.ask(&Request::Resize { rows, columns }).await)
    }

    pub async fn pause(&self, id: &ContainerId) -> Result<(), ContainerError> {
        self.freeze(id, Freeze::Frozen).await
    }

    pub async fn unpause(&self, id: &ContainerId) -> Result<(), ContainerError> {
        self.freeze(id, Freeze::Thawed).await
    }

    async fn freeze(&self, id: &ContainerId, wanted: Freeze) -> Result<(), ContainerError> {
        let cgroup = self.running_cgroup(id)?;
        blocking(move || Ok(cgroup.freeze(wanted)?)).await
    }

    /// Whether the container's processes are frozen; without any, they are not.
    pub fn is_paused(&self, id: &ContainerId) -> Result<bool, ContainerError> {
        let state = self.cgroup(id)?.and_then(|it| it.freeze_state());
        Ok(state == Some(Freeze::Frozen))
    }

    /// The processes of the container, as the host numbers them.
    pub async fn pids(&self, id: &ContainerId) -> Result<Vec<u32>, ContainerError> {
        Ok(self.running_cgroup(id)?.pids())
    }

    pub async fn stats(&self, id: &ContainerId) -> Result<Stats, ContainerError> {
        let cgroup = self.running_cgroup(id)?;
        blocking(move || Ok(cgroup.stats())).await
    }

    /// Kills and deletes everything of a container. It is no error if nothing is left of it.
    pub async fn remove(self: &Arc<Self>, id: &ContainerId) -> Result<(), ContainerError> {
        match self.kill(id).await {
            Ok(()) | Err(ContainerError::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(pidfd) = self.living(id).and_then(|state| state.shim.open()) {
            end_shim(&pidfd).await;
        }
        let (this, id) = (self.clone(), id.clone());
        blocking(move || {
            if let Some(cgroup) = this.cgroup(&id)? {
                cgroup.remove()?;
            }
            remove_all(&this.exec_directory(&id))?;
            remove_all(&this.directory(&id))
        })
        .await
    }

    fn look(&self, id: &ContainerId) -> Option<ObservedContainer> {
        let directory = self.directory(id);
        if !directory.exists() {
            return None;
        }
        let found = |task, phase| {
            Some(ObservedContainer {
                id: id.clone(),
                task,
                phase,
            })
        };
        let Some(run) = record::read::<RunRecord>(&directory, record::RUN) else {
            return found(None, Phase::Prepared);
        };
        if let Some(exit) = self.exit(&directory, &run.task) {
            return found(Some(run.task), Phase::Ended(exit));
        }
        if let Some(state) = self.living(id).filter(|state| state.task == run.task) {
            let pid = state.process.pid;
            let phase = match state.started_at {
                Some(started_at) => Phase::Running { pid, started_at },
                None => Phase::Created { pid },
            };
            return found(Some(run.task), phase);
        }
        if self.creating().contains(id) {
            return found(None, Phase::Prepared);
        }
        // The shim may have written its record between the two looks.
        let exit = self.exit(&directory, &run.task).unwrap_or_else(lost_exit);
        found(Some(run.task), Phase::Ended(exit))
    }

    fn exit(&self, directory: &Path, task: &TaskId) -> Option<Exit> {
        record::read::<ExitRecord>(directory, record::EXIT)
            .filter(|record| record.task == *task)
            .map(|record| record.exit)
    }

    /// What a living shim has written about its run.
    pub(super) fn living(&self, id: &ContainerId) -> Option<StateRecord> {
        record::read::<StateRecord>(&self.exec_directory(id), record::STATE)
            .filter(|state| state.shim.is_alive())
    }

    fn ids(&self) -> Result<Vec<ContainerId>, ContainerError> {
        let entries = fs::read_dir(&self.root).map_err(doing("read", &self.root))?;
        Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(ContainerId::new)
            .collect())
    }

    fn known(&self, id: &ContainerId) -> Result<(), ContainerError> {
        if self.directory(id).exists() {
            return Ok(());
        }
        Err(ContainerError::Unknown { id: id.clone() })
    }

    /// Short, because the path of a socket has 108 bytes at most.
    fn exec_directory(&self, id: &ContainerId) -> PathBuf {
        self.exec_root.join(id.short())
    }

    fn cgroup(&self, id: &ContainerId) -> Result<Option<Cgroup>, ContainerError> {
        let run = record::read::<RunRecord>(&self.directory(id), record::RUN);
        Ok(run.map(|run| Cgroup::at(&run.cgroup)).transpose()?)
    }

    fn running_cgroup(&self, id: &ContainerId) -> Result<Cgroup, ContainerError> {
        self.known(id)?;
        match self.living(id) {
            Some(_) => self.cgroup(id)?,
            None => None,
        }
        .ok_or_else(|| ContainerError::NotRunning { id: id.clone() })
    }

    fn link(&self, id: &ContainerId) -> io::Result<Link> {
        Link::connect(&self.exec_directory(id).join(record::SOCKET))
    }

    async fn link_to_running(&self, id: &ContainerId) -> Result<Link, ContainerError> {
        match self.link(id) {
            Ok(link) => Ok(link),
            Err(error) => Err(match self.why_not_started(id, error).await {
                ContainerError::Start { .. } => ContainerError::NotRunning { id: id.clone() },
                other => other,
            }),
        }
    }

    fn done(&self, id: &ContainerId, answer: io::Result<Reply>) -> Result<(), ContainerError> {
        match answer {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(reply) => Err(ContainerError::Shim {
                id: id.clone(),
                reason: format!("unexpected answer {reply:?}"),
            }),
            Err(error) => Err(ContainerError::Shim {
                id: id.clone(),
                reason: error.to_string(),
            }),
        }
    }

    fn creating(&self) -> MutexGuard<'_, BTreeSet<ContainerId>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContainerError> + Send + 'static,
) -> Result<T, ContainerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::refused("do this", "", error.to_string()).into()),
    }
}

pub(super) fn make_directory(path: &Path) -> Result<(), ContainerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(doing("create", path))
}

fn remove_all(path: &Path) -> Result<(), ContainerError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(doing("delete", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn doing(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContainerError {
    let path = path.to_owned();
    move |source| ContainerError::Io {
        action,
        path,
        source,
    }
}
