//! Stays with each living shim until its run has ended, and ends the runs whose shims are gone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use scheduler::model::id::{ContainerId, TaskId};
use tokio::io::Interest;
use tokio::process::Child;

use super::{Containers, blocking, doing};
use crate::clock::wall_time;
use crate::container::cgroup::Cgroup;
use crate::container::link::Link;
use crate::container::process::boot_id;
use crate::container::protocol::{Reply, Request};
use crate::container::record::{self, Durability, ExitRecord, RunRecord, StateRecord};
use crate::container::{ContainerError, Ended, Exit, Phase, kernel};

// After everything in it was killed a shim has only its record to write.
const SHIM_PATIENCE: Duration = Duration::from_secs(10);

impl Containers {
    /// Finds the shims that live, and what ended while nobody looked.
    pub(super) async fn take_over(self: Arc<Self>) -> Result<(), ContainerError> {
        for id in self.ids()? {
            let Some(state) = self.living(&id) else {
                let this = self.clone();
                blocking(move || this.settle(&id)).await?;
                continue;
            };
            let link = match self.link(&id) {
                Ok(link) => match link.ask(&Request::Watch).await {
                    Ok(Reply::Done) => Some(link),
                    _ => None,
                },
                Err(_) => None,
            };
            self.clone().watch(id, state.task, link, None);
        }
        Ok(())
    }

    /// Waits until the run ends, and tells it. A shim that could not be connected to is about to leave.
    pub(super) fn watch(
        self: Arc<Self>,
        id: ContainerId,
        task: TaskId,
        link: Option<Link>,
        child: Option<Child>,
    ) {
        tokio::spawn(async move {
            let told = match link {
                Some(link) => ended_of(&link).await,
                None => None,
            };
            if let Some(mut child) = child {
                // Reaped in its own time: it may still be talking to somebody attached.
                tokio::spawn(async move { child.wait().await });
            }
            let exit = match told {
                Some(exit) => Some(exit),
                None => self.end_without_word(&id).await,
            };
            if let Some(exit) = exit {
                let ended = Ended {
                    container: id,
                    task,
                    exit,
                };
                let _ = self.ended.send(ended).await;
            }
        });
    }

    /// Makes sure that a shim which said nothing is gone, and finds out how its run ended.
    async fn end_without_word(self: &Arc<Self>, id: &ContainerId) -> Option<Exit> {
        if let Some(pidfd) = self.living(id).and_then(|state| state.shim.open()) {
            end_shim(&pidfd).await;
        }
        let (this, owned_id) = (self.clone(), id.clone());
        if let Err(error) = blocking(move || this.settle(&owned_id)).await {
            tracing::warn!(container = %id, %error, "cannot clean up after a lost shim");
        }
        match self.look(id)?.phase {
            Phase::Ended(exit) => Some(exit),
            Phase::Prepared | Phase::Created { .. } | Phase::Running { .. } => None,
        }
    }

    /// Ends and writes down a run whose shim is gone.
    fn settle(&self, id: &ContainerId) -> Result<(), ContainerError> {
        let directory = self.directory(id);
        let Some(run) = record::read::<RunRecord>(&directory, record::RUN) else {
            return Ok(());
        };
        if self.exit(&directory, &run.task).is_some() {
            return Ok(());
        }
        Cgroup::at(&run.cgroup)?.remove()?;
        if self.was_cut_short(id, &run) {
            // Nothing of the user's has run: the same task may begin anew.
            return record::delete(&directory, record::RUN)
                .map_err(doing("delete", &directory.join(record::RUN)));
        }
        let record = ExitRecord {
            task: run.task,
            exit: lost_exit(),
        };
        record::write(&directory, record::EXIT, &record, Durability::Synced)
            .map_err(doing("write", &directory.join(record::EXIT)))
    }

    /// The run ended before its program was started. After another boot nobody knows.
    fn was_cut_short(&self, id: &ContainerId, run: &RunRecord) -> bool {
        let state = record::read::<StateRecord>(&self.exec_directory(id), record::STATE);
        let started = state
            .filter(|state| state.task == run.task)
            .is_some_and(|state| state.started_at.is_some());
        run.boot == boot_id() && !started
    }
}

/// Listens until the shim tells that the run has ended; `None` if it leaves without a word.
async fn ended_of(link: &Link) -> Option<Exit> {
    loop {
        if let Ok(Reply::Ended(exit)) = link.receive().await.ok()??.parse() {
            return Some(exit);
        }
    }
}

/// What is said of a run whose shim was killed, or whose host lost power.
pub(super) fn lost_exit() -> Exit {
    Exit {
        code: 255,
        oom_killed: false,
        started_at: None,
        finished_at: wall_time(),
        error: Some("its shim is gone: nobody knows how it ended".to_owned()),
    }
}

/// Waits until a shim whose container was killed has left; one that does not is killed.
pub(super) async fn end_shim(pidfd: &OwnedFd) {
    let left = async {
        let watched = kernel::watched(pidfd.try_clone()?, Interest::READABLE)?;
        watched.readable().await?.retain_ready();
        io::Result::Ok(())
    };
    if !matches!(tokio::time::timeout(SHIM_PATIENCE, left).await, Ok(Ok(()))) {
        let _ = kernel::pidfd_signal(pidfd, libc::SIGKILL);
    }
}
