//! The commands that accompany a container's life, run inside of it: `post_start`, `pre_stop`.
//!
//!     start ──► post_start, one after the other ──► running ──► pre_stop ──► stop signal
//!                  │ one fails: the container is ended, and has failed
//!
//! That those after the start have run is written beside the bundle, with the run it is true of: an
//! agent that takes the container over in between runs them again.

use std::path::PathBuf;
use std::time::Duration;

use scheduler::model::container::Hook;
use scheduler::model::id::ContainerId;
use tracing::warn;

use super::LinuxHost;
use super::probe::inside;
use crate::container::ExecRequest;
use crate::host::{Hooks, OpError, Run};

/// Names the task whose `post_start` commands have all run.
const MARKER: &str = "post_start";

impl LinuxHost {
    /// Runs the commands that follow a start.
    ///
    /// # Errors
    ///
    /// Tells which one failed and the last line it wrote; those after it are not run.
    pub(super) async fn post_start(&self, run: &Run) -> Result<(), OpError> {
        let id = &run.task.container;
        for hook in &run.task.spec.post_start {
            self.hook(id, "post_start", hook, None).await?;
        }
        let written = tokio::fs::write(self.marker(id), run.task.id.as_str()).await;
        if let Err(error) = written {
            warn!(container = %id, %error, "a later process of this node will run post_start again");
        }
        Ok(())
    }

    /// Runs the commands that come before a stop, all of them within this time. One that fails
    /// keeps neither the others nor the stop from happening.
    pub(super) async fn pre_stop(&self, run: &Run, limit: Option<Duration>) {
        let id = &run.task.container;
        let all = async {
            for hook in &run.task.spec.pre_stop {
                if let Err(error) = self.hook(id, "pre_stop", hook, limit).await {
                    warn!(container = run.task.name, %error, "it is stopped all the same");
                }
            }
        };
        match limit {
            None => all.await,
            Some(limit) => {
                if tokio::time::timeout(limit, all).await.is_err() {
                    warn!(
                        container = run.task.name,
                        "pre_stop took too long: it is stopped now"
                    );
                }
            }
        }
    }

    /// What is due of a container that runs since before this process began.
    pub(super) async fn hooks_of_adopted(&self, run: &Run) -> Hooks {
        let done = tokio::fs::read_to_string(self.marker(&run.task.container)).await;
        match done {
            Ok(task) if task == run.task.id.as_str() => Hooks::Idle,
            Ok(_) | Err(_) => Hooks::after_start_of(&run.task),
        }
    }

    fn marker(&self, id: &ContainerId) -> PathBuf {
        self.drivers.containers.directory(id).join(MARKER)
    }

    async fn hook(
        &self,
        id: &ContainerId,
        kind: &str,
        hook: &Hook,
        limit: Option<Duration>,
    ) -> Result<(), OpError> {
        let (ended, output) = inside(&self.drivers.containers, id, request(hook), limit).await;
        let why = match ended {
            Ok(Some(0)) => return Ok(()),
            Ok(Some(code)) => format!("exited with code {code}"),
            Ok(None) => "took too long".to_owned(),
            Err(error) => error.to_string(),
        };
        let output = String::from_utf8_lossy(&output);
        let last = output
            .lines()
            .rev()
            .map(str::trim)
            .find(|it| !it.is_empty());
        let said = last.map(|it| format!(": {it}")).unwrap_or_default();
        Err(OpError {
            reason: format!("{kind} command `{}` {why}{said}", hook.command.join(" ")),
            exit_code: None,
        })
    }
}

fn request(hook: &Hook) -> ExecRequest {
    let variable = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    ExecRequest {
        args: hook.command.clone(),
        env: hook.environment.iter().map(variable).collect(),
        working_dir: hook.working_dir.clone(),
        user: hook.user.clone(),
        privileged: hook.privileged,
        ..ExecRequest::default()
    }
}
