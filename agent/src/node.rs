//! The node loop: observe → plan → execute → report, until nothing differs.
//!
//!     assignment ─┐                         ┌─► operation (one for each subject at a time)
//!     host event ─┼─► [`plan`] ─────────────┤
//!     operation ──┘                         └─► report, if a status has changed
//!
//! The loop owns what has been observed; operations run beside it and come back as messages. It
//! starts with what the host shows, so a start after a crash is like any other turn.
//!
//! While no manager answers it goes on with what it was told last, across its own restarts too
//! (see [`ledger`](crate::ledger)): nothing is deleted, and what ends is started again as its
//! policy says (see [`rerun`]).

mod operate;
mod rerun;
mod speak;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::assignment::Assignment;
use scheduler::model::id::TaskId;
use scheduler::model::task::TaskStatus;
use scheduler::model::time::Timestamp;
use scheduler::report::Report;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::clock::Clock;
use crate::container::Exit;
use crate::host::{Hooks, Host, HostEvent, Observed, OpError, Phase, SeenContainer, Subject};
use crate::ledger::{Remembered, Reruns};
use crate::plan::{Basis, Wanted, plan};
use crate::report;

use self::operate::{Busy, Failures, Finished};
use self::rerun::{Own, Verdict};

/// Operations at a time. More would only wait for each other in the kernel (mounts, netlink).
const PARALLEL_OPERATIONS: usize = 16;

/// How the node stands with the manager that leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It listens. Each time it begins to, or another one does, the number is another one.
    Open { session: u64 },
    /// It was heard a moment ago, and may be back in another.
    Lost,
    /// It has been silent for so long that it may have given this node up.
    Silent,
}

/// Why what is tried again and again has failed the last time.
pub type Troubles = BTreeMap<Subject, String>;

/// A report, and the session that it was made for: in another one it is out of date.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub session: u64,
    pub report: Report,
}

/// What the loop listens to.
pub struct Sources {
    /// From the last run of this process.
    pub remembered: Remembered,
    pub assignments: watch::Receiver<Arc<Assignment>>,
    pub contact: watch::Receiver<Contact>,
    pub events: mpsc::Receiver<HostEvent>,
    pub reports: mpsc::Sender<Said>,
    /// The restarts that no manager has counted yet, to be remembered.
    pub reruns: watch::Sender<Reruns>,
    /// What is to be seen of each task, whoever listens.
    pub statuses: watch::Sender<Arc<BTreeMap<TaskId, TaskStatus>>>,
    /// What fails, to be told to whoever waits for it.
    pub troubles: watch::Sender<Troubles>,
    /// The node is to stop; containers are left alone.
    pub shutdown: CancellationToken,
}

/// Runs until told to stop.
///
/// # Errors
///
/// Returns why the host could not be looked at in the first place.
pub async fn run<H: Host>(host: Arc<H>, clock: Clock, mut sources: Sources) -> Result<(), OpError> {
    let observed = host.observe().await?;
    let (done, mut finished) = mpsc::channel(PARALLEL_OPERATIONS * 2);
    let mut node = Node {
        host,
        clock,
        wanted: None,
        observed,
        busy: BTreeMap::new(),
        begun: 0,
        told: BTreeSet::new(),
        failures: BTreeMap::new(),
        reported: BTreeMap::new(),
        own: Own::new(sources.remembered.reruns),
        reruns: sources.reruns,
        statuses: sources.statuses,
        troubles: sources.troubles,
        contact: Contact::Lost,
        untold: Untold::Changes,
        permits: Arc::new(Semaphore::new(PARALLEL_OPERATIONS)),
        done,
    };
    if let Some(assignment) = sources.remembered.assignment {
        node.accept(assignment, Basis::Remembered).await;
    }
    let first = sources.assignments.borrow_and_update().clone();
    node.accept(first, Basis::Told).await;
    loop {
        node.hear(*sources.contact.borrow_and_update());
        let wake_at = node.turn();
        node.show();
        if let Some(said) = node.say()
            && sources.reports.send(said).await.is_err()
        {
            return Ok(());
        }
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In this order, whatever chance says: what happened once can be seen again.
            biased;
            () = sources.shutdown.cancelled() => return Ok(()),
            changed = sources.assignments.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let assignment = sources.assignments.borrow_and_update().clone();
                node.accept(assignment, Basis::Told).await;
            }
            Ok(()) = sources.contact.changed() => {}
            Some(event) = sources.events.recv() => node.note(event),
            Some(finished) = finished.recv() => node.finish(finished),
            () = wake => {}
        }
        // Whatever else has happened meanwhile belongs into the same turn.
        while let Ok(event) = sources.events.try_recv() {
            node.note(event);
        }
        while let Ok(finished) = finished.try_recv() {
            node.finish(finished);
        }
    }
}

struct Node<H> {
    host: Arc<H>,
    clock: Clock,
    /// `None` until the first assignment: nothing is touched before.
    wanted: Option<Wanted>,
    observed: Observed,
    busy: BTreeMap<Subject, Busy>,
    begun: u64,
    /// Removals that were reported since the last assignment.
    told: BTreeSet<String>,
    failures: BTreeMap<Subject, Failures>,
    reported: BTreeMap<TaskId, TaskStatus>,
    own: Own,
    reruns: watch::Sender<Reruns>,
    statuses: watch::Sender<Arc<BTreeMap<TaskId, TaskStatus>>>,
    troubles: watch::Sender<Troubles>,
    contact: Contact,
    untold: Untold,
    permits: Arc<Semaphore>,
    done: mpsc::Sender<Finished>,
}

/// What the next report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untold {
    Changes,
    /// Whoever listens has heard nothing yet.
    Everything,
}

impl<H: Host> Node<H> {
    async fn accept(&mut self, assignment: Arc<Assignment>, basis: Basis) {
        // Generation 0 is what the channel holds before anything was assigned.
        if assignment.generation == 0 {
            return;
        }
        if let Some(current) = &self.wanted {
            let (current, basis) = (current.assignment.number(), current.basis);
            let confirmed = basis == Basis::Remembered && assignment.number() == current;
            if assignment.number() <= current && !confirmed {
                return;
            }
        }
        if basis == Basis::Told && self.own.settle(&assignment) {
            self.reruns.send_replace(self.own.all().clone());
        }
        let wanted = Wanted::new(assignment, basis);
        self.host.announce(&wanted.assignment).await;
        self.wanted = Some(wanted);
        self.told.clear();
        self.abandon();
    }

    /// Somebody who listens for the first time is told everything.
    fn hear(&mut self, contact: Contact) {
        if matches!(contact, Contact::Open { .. }) && contact != self.contact {
            self.untold = Untold::Everything;
            self.told.clear();
            self.own.tell_again();
        }
        if contact == Contact::Silent && self.contact != contact {
            info!("no manager answers: what was told last holds, and what ends is restarted here");
        }
        self.contact = contact;
    }

    /// Begins ended containers again for which nobody else is there. Returns when to look again.
    fn restart(&mut self, now: Timestamp) -> Option<Timestamp> {
        let wanted = self
            .wanted
            .as_ref()
            .filter(|_| self.contact == Contact::Silent)?;
        let mut wake_at = None;
        for task in &wanted.assignment.tasks {
            let busy = (self.busy).contains_key(&Subject::Container(task.container.clone()));
            let seen = self.observed.containers.get_mut(&task.container);
            let Some(seen) = seen.filter(|seen| !busy && seen.task.as_ref() == Some(&task.id))
            else {
                continue;
            };
            let Some(status) = report::ended(task, seen) else {
                continue;
            };
            match self.own.verdict(task, &status, now) {
                Verdict::Leave => {}
                Verdict::Wait(at) => wake_at = earlier(wake_at, at),
                Verdict::Begin(tally) => {
                    info!(container = task.name, because = status.reason, "restarting");
                    *seen = SeenContainer::new(Some(task.id.clone()), Phase::Bare);
                    self.own.count(&task.id, tally);
                    self.reruns.send_replace(self.own.all().clone());
                }
            }
        }
        wake_at
    }

    /// Starts every step that can be taken now; returns when to look again.
    fn turn(&mut self) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut wake_at = self.restart(now);
        let wanted = self.wanted.as_ref()?;
        let plan = plan(wanted, &self.observed, now);
        if let Some(at) = plan.wake_at {
            wake_at = earlier(wake_at, at);
        }
        let planned: BTreeSet<Subject> = plan.steps.iter().map(|it| it.op.subject()).collect();
        self.forget_troubles(&planned);
        for step in plan.steps {
            let subject = step.op.subject();
            if self.busy.contains_key(&subject) || self.is_in_use(&step.op) {
                continue;
            }
            if let Some(failures) = self.failures.get(&subject)
                && now < failures.retry_at
            {
                wake_at = earlier(wake_at, failures.retry_at);
                continue;
            }
            debug!(?subject, because = step.because, "step");
            self.begin(subject, step.op, now);
        }
        wake_at
    }

    /// What nobody asks for any more is no trouble.
    fn forget_troubles(&self, planned: &BTreeSet<Subject>) {
        self.troubles.send_if_modified(|all| {
            let before = all.len();
            all.retain(|it, _| planned.contains(it) || self.busy.contains_key(it));
            all.len() < before
        });
    }

    fn note(&mut self, event: HostEvent) {
        match event {
            HostEvent::Ended {
                container,
                task,
                exit,
            } => {
                if let Some(seen) = self.observed.containers.get_mut(&container)
                    && seen.task.as_ref() == Some(&task)
                {
                    seen.phase = Phase::Ended(match &seen.hooks {
                        Hooks::Failed(reason) => Exit {
                            error: Some(reason.clone()),
                            ..exit
                        },
                        Hooks::Idle | Hooks::AfterStart | Hooks::BeforeStop => exit,
                    });
                }
            }
            HostEvent::Health {
                container,
                task,
                health,
            } => {
                if let Some(seen) = self.observed.containers.get_mut(&container)
                    && seen.task.as_ref() == Some(&task)
                {
                    seen.health = Some(health);
                }
            }
        }
    }
}

fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

#[cfg(test)]
mod tests;
