//! Watches the health of one running container: probe, judge, tell, wait.

use std::time::Duration;

use scheduler::model::id::ContainerId;
use scheduler::model::task::Health;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::AbortHandle;
use tracing::debug;

use super::{LinuxHost, health_event};
use crate::container::health::{HealthCheck, HealthMonitor, Probe, ProbeOutcome};
use crate::container::{ContainerError, Containers, ExecRequest};
use crate::host::Run;

/// Docker keeps this much of a probe's output.
const OUTPUT_LIMIT: u64 = 4096;
/// For what a probe wrote right before its end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Beside the container's bundle: what a later process of this node goes on with.
const KEPT_IN: &str = "health.json";

impl LinuxHost {
    /// Probes until aborted, and tells of every change. What is known at the beginning is returned.
    pub(super) fn watch_health(
        &self,
        run: &Run,
        mut monitor: HealthMonitor,
    ) -> (AbortHandle, Health) {
        let (id, task) = (run.task.container.clone(), run.task.id.clone());
        let (containers, clock, events) = (
            self.drivers.containers.clone(),
            self.drivers.clock,
            self.events.clone(),
        );
        let first = monitor.health();
        let mut told = first.clone();
        let watching = tokio::spawn(async move {
            loop {
                tokio::time::sleep_until(clock.instant(monitor.next_probe_at())).await;
                let begun = clock.now();
                let (outcome, output) = probe(&containers, &id, monitor.check()).await;
                monitor.on_probe(Probe {
                    started_at: begun,
                    finished_at: clock.now(),
                    outcome,
                    output,
                });
                let health = monitor.health();
                if same(&told, &health) {
                    continue;
                }
                keep(&containers, &id, &health).await;
                told = health.clone();
                if events.send(health_event(&id, &task, health)).await.is_err() {
                    return;
                }
            }
        });
        (watching.abort_handle(), first)
    }

    /// What was last known of a container that runs since before this process began.
    pub(super) async fn last_health(&self, id: &ContainerId) -> Option<Health> {
        let path = self.drivers.containers.directory(id).join(KEPT_IN);
        serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()
    }

    /// A new run begins with nothing known.
    pub(super) async fn forget_health(&self, id: &ContainerId) {
        // Usually there is nothing to forget.
        let _ = tokio::fs::remove_file(self.drivers.containers.directory(id).join(KEPT_IN)).await;
    }
}

/// What a passing probe printed is nobody's news.
fn same(a: &Health, b: &Health) -> bool {
    a.status == b.status && a.failing_streak == b.failing_streak
}

/// Losing it costs no more than a probe, so nobody waits for the disk.
async fn keep(containers: &Containers, id: &ContainerId, health: &Health) {
    let path = containers.directory(id).join(KEPT_IN);
    let written = match serde_json::to_vec(health) {
        Ok(text) => tokio::fs::write(&path, text).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = written {
        debug!(container = %id, %error, "its health is not kept for a later process");
    }
}

async fn probe(
    containers: &Containers,
    id: &ContainerId,
    check: &HealthCheck,
) -> (ProbeOutcome, Vec<u8>) {
    let request = ExecRequest {
        args: check.args.clone(),
        ..ExecRequest::default()
    };
    let (ended, text) = inside(containers, id, request, Some(check.timeout)).await;
    let outcome = match ended {
        Ok(Some(code)) => ProbeOutcome::Exited(code),
        Ok(None) => ProbeOutcome::TimedOut,
        Err(error) => ProbeOutcome::NotRun(error.to_string()),
    };
    (outcome, text)
}

/// Runs a program in a container, at most for so long; gives its exit code (`None` when it had to
/// be killed) and the beginning of what it wrote.
pub(super) async fn inside(
    containers: &Containers,
    id: &ContainerId,
    request: ExecRequest,
    limit: Option<Duration>,
) -> (Result<Option<i32>, ContainerError>, Vec<u8>) {
    let mut session = match containers.exec(id, request).await {
        Ok(session) => session,
        Err(error) => return (Err(error), Vec::new()),
    };
    drop(session.stdin.take());
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    let (mut text, mut errors) = (Vec::new(), Vec::new());
    let ended = {
        let waiting = async {
            match limit {
                Some(limit) => session.control.wait_or_kill(limit).await,
                None => session.control.wait().await.map(Some),
            }
        };
        let reading = async { tokio::join!(head(stdout, &mut text), head(stderr, &mut errors)) };
        tokio::pin!(waiting, reading);
        tokio::select! {
            ended = &mut waiting => {
                // A grandchild may keep the pipes open for ever.
                let _ = tokio::time::timeout(PATIENCE, &mut reading).await;
                ended
            }
            _ = &mut reading => waiting.await,
        }
    };
    text.extend(errors);
    (ended, text)
}

/// The beginning of a stream; the rest is read and dropped, so that the probe is not held up.
async fn head(stream: Option<Box<dyn AsyncRead + Send + Unpin>>, text: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    if (&mut stream)
        .take(OUTPUT_LIMIT)
        .read_to_end(text)
        .await
        .is_ok()
    {
        // An error here ends the output, and the exit code says the rest.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}
