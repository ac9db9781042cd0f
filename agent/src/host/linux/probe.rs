//! Watches the health of one running container: probe, judge, tell, wait.

use std::time::Duration;

use scheduler::model::time::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::AbortHandle;

use super::{LinuxHost, health_event};
use crate::container::health::{HealthCheck, HealthMonitor, Probe, ProbeOutcome};
use crate::container::{Containers, ExecRequest};
use crate::host::Run;
use scheduler::model::id::ContainerId;

/// Docker keeps this much of a probe's output.
const OUTPUT_LIMIT: u64 = 4096;
/// For what a probe wrote right before its end.
const PATIENCE: Duration = Duration::from_millis(100);

impl LinuxHost {
    /// Probes until aborted. What was known before this process began is told at once.
    pub(super) fn watch_health(
        &self,
        run: &Run,
        check: HealthCheck,
        started_at: Timestamp,
    ) -> AbortHandle {
        let (id, task) = (run.task.container.clone(), run.task.id.clone());
        let (containers, clock, events) = (
            self.drivers.containers.clone(),
            self.drivers.clock,
            self.events.clone(),
        );
        let mut monitor = HealthMonitor::new(check, started_at);
        let watching = tokio::spawn(async move {
            let mut told = monitor.health();
            if events
                .send(health_event(&id, &task, told.clone()))
                .await
                .is_err()
            {
                return;
            }
            loop {
                tokio::time::sleep_until(clock.instant(monitor.next_probe_at()).into()).await;
                let begun = clock.now();
                let (outcome, output) = probe(&containers, &id, monitor.check()).await;
                monitor.on_probe(Probe {
                    started_at: begun,
                    finished_at: clock.now(),
                    outcome,
                    output,
                });
                let health = monitor.health();
                if health == told {
                    continue;
                }
                told = health.clone();
                if events.send(health_event(&id, &task, health)).await.is_err() {
                    return;
                }
            }
        });
        watching.abort_handle()
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
    let mut session = match containers.exec(id, request).await {
        Ok(session) => session,
        Err(error) => return (ProbeOutcome::NotRun(error.to_string()), Vec::new()),
    };
    drop(session.stdin.take());
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    let (mut text, mut errors) = (Vec::new(), Vec::new());
    let ended = {
        let waiting = session.control.wait_or_kill(check.timeout);
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
    let outcome = match ended {
        Ok(Some(code)) => ProbeOutcome::Exited(code),
        Ok(None) => ProbeOutcome::TimedOut,
        Err(error) => ProbeOutcome::NotRun(error.to_string()),
    };
    (outcome, text)
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
