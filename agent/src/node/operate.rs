//! Operations: begun beside the loop, one for each subject at a time, and what comes of each.
//!
//!     step ─► [`begin`](Node::begin) ─► host ─► [`finish`](Node::finish) ─► observed, or tried again
//!                  └─ nobody wants it any longer ─► [`abandon`](Node::abandon)

use std::time::Duration;

use scheduler::model::id::TaskId;
use scheduler::model::task::DesiredState;
use scheduler::model::time::Timestamp;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::Node;
use crate::container::Exit;
use crate::host::{
    Done, Hooks, Host, Means, Op, OpError, Phase, Run, SeenContainer, Stopping, Subject,
};
use crate::plan::is_kill;
use crate::report::Activity;

/// First wait after a failed operation; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Failures in a row on one subject.
pub(super) struct Failures {
    count: u32,
    pub(super) retry_at: Timestamp,
}

/// An operation that is under way.
pub(super) struct Busy {
    /// Tells this operation from an abandoned one on the same subject.
    number: u64,
    pub(super) activity: Activity,
    task: Option<TaskId>,
    abort: AbortHandle,
}

/// An operation that has ended.
pub(super) struct Finished {
    number: u64,
    op: Op,
    result: Result<Done, OpError>,
}

impl<H: Host> Node<H> {
    /// A network on which something may be starting at this moment; it is looked at again when that
    /// has ended.
    pub(super) fn is_in_use(&self, op: &Op) -> bool {
        let starting = |busy: &Busy| busy.activity == Activity::Starting;
        matches!(op, Op::RemoveNetwork(_)) && self.busy.values().any(starting)
    }

    pub(super) fn begin(&mut self, subject: Subject, op: Op, now: Timestamp) {
        if let (Op::Signal { container, .. } | Op::Kill(container), Some(seen)) =
            (&op, self.container_mut(&subject))
        {
            debug!(%container, "ending");
            let by = match op {
                Op::Kill(_) => Means::Kill,
                _ => Means::Signal,
            };
            let since = seen.stop.as_ref().map_or(now, |stop| stop.since);
            let signal = match &op {
                Op::Signal { signal, .. } => signal.clone(),
                _ => None,
            };
            seen.stop = Some(Stopping { since, signal, by });
        }
        let activity = Activity::of(&op);
        let task = match &op {
            Op::Prepare(run) | Op::PostStart(run) | Op::PreStop { run, .. } => {
                Some(run.task.id.clone())
            }
            _ => None,
        };
        if let Op::RemoveNetwork(id) = &op {
            // Half gone is gone for whoever wants to start on it now.
            self.observed.networks.insert(id.clone(), None);
        }
        self.begun += 1;
        let number = self.begun;
        let (host, done, permits) = (self.host.clone(), self.done.clone(), self.permits.clone());
        let running = tokio::spawn(async move {
            // An end must never wait behind starts that may themselves wait for it.
            let _permit = match op {
                Op::Prepare(_) | Op::Start(_) => permits.acquire().await.ok(),
                _ => None,
            };
            let result = host.execute(&op).await;
            // The loop has gone only when the process ends.
            let _ = done.send(Finished { number, op, result }).await;
        });
        self.busy.insert(
            subject,
            Busy {
                number,
                activity,
                task,
                abort: running.abort_handle(),
            },
        );
    }

    /// A preparation may take as long as a registry likes, and a command in a container as long as
    /// it likes: both end when nobody wants them any longer.
    pub(super) fn abandon(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        let unwanted = |subject: &Subject, busy: &Busy| {
            let Subject::Container(container) = subject else {
                return false;
            };
            let task = wanted.task(container);
            let leaves = task.is_none_or(|task| {
                task.desired >= DesiredState::Shutdown || busy.task.as_ref() != Some(&task.id)
            });
            match busy.activity {
                Activity::Preparing | Activity::Greeting => leaves,
                Activity::Leaving => task.is_some_and(|task| is_kill(task.stop.as_ref())),
                Activity::Nothing | Activity::Starting => false,
            }
        };
        let subjects: Vec<Subject> = self
            .busy
            .iter()
            .filter(|(subject, busy)| unwanted(subject, busy))
            .map(|(s, _)| s.clone())
            .collect();
        for subject in subjects {
            let (Some(busy), Subject::Container(container)) = (self.busy.remove(&subject), subject)
            else {
                continue;
            };
            busy.abort.abort();
            if let (Activity::Greeting | Activity::Leaving, Some(seen)) =
                (busy.activity, self.observed.containers.get_mut(&container))
            {
                if busy.activity == Activity::Leaving {
                    seen.hooks = Hooks::BeforeStop;
                }
                continue;
            }
            self.observed
                .containers
                .insert(container, SeenContainer::new(busy.task, Phase::Bare));
        }
    }

    /// A container that could not be told to end has to be told again.
    fn has_not_told(&mut self, subject: &Subject, op: &Op) {
        let means = match op {
            Op::Signal { .. } => Means::Nothing,
            Op::Kill(_) => Means::Signal,
            _ => return,
        };
        let seen = self.container_mut(subject);
        if let Some(stopping) = seen.and_then(|seen| seen.stop.as_mut()) {
            stopping.by = means;
        }
    }

    pub(super) fn finish(&mut self, Finished { number, op, result }: Finished) {
        let subject = op.subject();
        if self
            .busy
            .get(&subject)
            .is_none_or(|busy| busy.number != number)
        {
            // It was abandoned, and ended before it could be stopped.
            return;
        }
        self.busy.remove(&subject);
        match result {
            Ok(done) => {
                self.failures.remove(&subject);
                (self.troubles).send_if_modified(|all| all.remove(&subject).is_some());
                self.succeed(op, done);
            }
            Err(error) => self.fail(&subject, op, error),
        }
    }

    fn succeed(&mut self, op: Op, done: Done) {
        match (op, done) {
            (Op::EnsureNetwork(network), _) => {
                self.observed
                    .networks
                    .insert(network.id.clone(), Some(network));
            }
            (Op::RemoveNetwork(id), _) => {
                self.observed.networks.remove(&id);
            }
            (Op::EnsureVolume(spec), _) => {
                self.observed.volumes.insert(spec.name.clone(), spec);
            }
            (Op::RemoveVolume(name), _) => {
                self.observed.volumes.remove(&name);
            }
            (Op::Prepare(run), done) => {
                let mut seen = SeenContainer::new(Some(run.task.id.clone()), Phase::Prepared);
                if let Done::Prepared { image_id } = done {
                    seen.image_id = Some(image_id);
                }
                self.observed
                    .containers
                    .insert(run.task.container.clone(), seen);
            }
            (
                Op::Start(run) | Op::Adopt(run),
                Done::Started {
                    pid,
                    started_at,
                    ports,
                    health,
                    hooks,
                },
            ) => {
                if let Some(seen) = self.observed.containers.get_mut(&run.task.container) {
                    seen.ports = ports;
                    seen.hooks = hooks;
                    // A probe may have been quicker.
                    seen.health = seen.health.take().or(health);
                    // Its end may have been noticed before its start was.
                    if matches!(seen.phase, Phase::Prepared | Phase::Found { .. }) {
                        seen.phase = Phase::Running { pid, started_at };
                    }
                }
            }
            (Op::Release(id), _) => {
                if let Some(seen) = self.observed.containers.get_mut(&id)
                    && let Phase::Ended(exit) = &seen.phase
                {
                    seen.phase = Phase::Released(exit.clone());
                }
            }
            (Op::Remove { container, .. }, _) => {
                self.observed.containers.remove(&container);
            }
            (Op::PostStart(run), _) => self.set_hooks(&run, Hooks::Idle),
            (Op::PreStop { run, .. }, _) => self.set_hooks(&run, Hooks::BeforeStop),
            (Op::Start(_) | Op::Adopt(_) | Op::Signal { .. } | Op::Kill(_), _) => {}
        }
    }

    fn set_hooks(&mut self, run: &Run, hooks: Hooks) {
        if let Some(seen) = self.observed.containers.get_mut(&run.task.container)
            && seen.phase.is_alive()
        {
            seen.hooks = hooks;
        }
    }

    /// What cannot be prepared or started is the task's fault and told to the scheduler, which
    /// decides about another try; everything else is tried again later.
    fn fail(&mut self, subject: &Subject, op: Op, error: OpError) {
        let now = self.clock.now();
        match op {
            Op::Prepare(run) => {
                info!(container = %run.task.name, %error, "cannot be prepared");
                let phase = Phase::Rejected {
                    reason: error.reason,
                    at: now,
                };
                let seen = SeenContainer::new(Some(run.task.id.clone()), phase);
                self.observed
                    .containers
                    .insert(run.task.container.clone(), seen);
            }
            Op::Start(run) => {
                info!(container = %run.task.name, %error, "cannot be started");
                if let Some(seen) = self.observed.containers.get_mut(&run.task.container) {
                    seen.phase = Phase::Ended(Exit {
                        code: error.exit_code.unwrap_or(125),
                        oom_killed: false,
                        started_at: None,
                        finished_at: now,
                        error: Some(error.reason),
                    });
                }
            }
            Op::PostStart(run) => {
                info!(container = run.task.name, %error, "it is ended");
                self.set_hooks(&run, Hooks::Failed(error.reason));
            }
            Op::PreStop { run, .. } => self.set_hooks(&run, Hooks::BeforeStop),
            op => {
                self.has_not_told(subject, &op);
                let failures = self.failures.entry(subject.clone()).or_insert(Failures {
                    count: 0,
                    retry_at: now,
                });
                let wait = FIRST_RETRY
                    .saturating_mul(1 << failures.count.min(16))
                    .min(LAST_RETRY);
                failures.count += 1;
                failures.retry_at = now.plus(wait);
                warn!(?subject, %error, ?wait, "operation failed: {}", op.name());
                (self.troubles).send_modify(|all| {
                    all.insert(subject.clone(), error.reason);
                });
            }
        }
    }

    fn container_mut(&mut self, subject: &Subject) -> Option<&mut SeenContainer> {
        match subject {
            Subject::Container(id) => self.observed.containers.get_mut(id),
            Subject::Network(_) | Subject::Volume(_) => None,
        }
    }
}
