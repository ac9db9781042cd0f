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

mod rerun;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::{AssignedTask, Assignment};
use scheduler::model::id::TaskId;
use scheduler::model::task::{DesiredState, TaskStatus};
use scheduler::model::time::Timestamp;
use scheduler::report::Report;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::container::Exit;
use crate::host::{
    Done, Hooks, Host, HostEvent, Observed, Op, OpError, Phase, Run, SeenContainer, Stopping,
    Subject,
};
use crate::ledger::{Remembered, Reruns};
use crate::plan::{Basis, Wanted, is_kill, plan};
use crate::report::{self, Activity};

use self::rerun::{Own, Verdict};

/// Operations at a time. More would only wait for each other in the kernel (mounts, netlink).
const PARALLEL_OPERATIONS: usize = 16;
/// First wait after a failed operation; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);

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

/// Failures in a row on one subject.
struct Failures {
    count: u32,
    retry_at: Timestamp,
}

/// An operation that is under way.
struct Busy {
    /// Tells this operation from an abandoned one on the same subject.
    number: u64,
    activity: Activity,
    task: Option<TaskId>,
    abort: AbortHandle,
}

struct Finished {
    number: u64,
    op: Op,
    result: Result<Done, OpError>,
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

    /// A network on which something may be starting at this moment; it is looked at again when that
    /// has ended.
    fn is_in_use(&self, op: &Op) -> bool {
        let starting = |busy: &Busy| busy.activity == Activity::Starting;
        matches!(op, Op::RemoveNetwork(_)) && self.busy.values().any(starting)
    }

    /// What nobody asks for any more is no trouble.
    fn forget_troubles(&self, planned: &BTreeSet<Subject>) {
        self.troubles.send_if_modified(|all| {
            let before = all.len();
            all.retain(|it, _| planned.contains(it) || self.busy.contains_key(it));
            all.len() < before
        });
    }

    fn begin(&mut self, subject: Subject, op: Op, now: Timestamp) {
        if let (Op::Signal { container, .. } | Op::Kill(container), Some(seen)) =
            (&op, self.container_mut(&subject))
        {
            debug!(%container, "ending");
            let killed = matches!(op, Op::Kill(_));
            let since = seen.stop.as_ref().map_or(now, |stop| stop.since);
            let signal = match &op {
                Op::Signal { signal, .. } => signal.clone(),
                _ => None,
            };
            seen.stop = Some(Stopping {
                since,
                signal,
                killed,
            });
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
    fn abandon(&mut self) {
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

    fn finish(&mut self, Finished { number, op, result }: Finished) {
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
                let failures = self.failures.entry(subject.clone()).or_insert(Failures {
                    count: 0,
                    retry_at: now,
                });
                let wait = FIRST_RETRY
                    .saturating_mul(1 << failures.count.min(16))
                    .min(LAST_RETRY);
                failures.count += 1;
                failures.retry_at = now.plus(wait);
                warn!(?subject, %error, ?wait, "operation failed: {}", name(&op));
                (self.troubles).send_modify(|all| {
                    all.insert(subject.clone(), error.reason);
                });
            }
        }
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

    fn container_mut(&mut self, subject: &Subject) -> Option<&mut SeenContainer> {
        match subject {
            Subject::Container(id) => self.observed.containers.get_mut(id),
            Subject::Network(_) | Subject::Volume(_) => None,
        }
    }

    /// Shows what can be seen of each task, if somebody looks.
    fn show(&self) {
        let Some(wanted) = self
            .wanted
            .as_ref()
            .filter(|_| self.statuses.receiver_count() > 0)
        else {
            return;
        };
        let now = self.clock.now();
        self.statuses.send_if_modified(|shown| {
            let seen = wanted.assignment.tasks.iter().filter_map(|task| {
                let before = shown.get(&task.id);
                let status = report::status(task, &self.observed, self.activity(task), now);
                let status = match (status, before) {
                    (Some(status), Some(before)) if report::same(&status, before) => before.clone(),
                    (Some(status), _) => status,
                    (None, before) => before?.clone(),
                };
                Some((task.id.clone(), status))
            });
            let seen: BTreeMap<TaskId, TaskStatus> = seen.collect();
            let differs = **shown != seen;
            if differs {
                *shown = Arc::new(seen);
            }
            differs
        });
    }

    fn activity(&self, task: &AssignedTask) -> Activity {
        let busy = self.busy.get(&Subject::Container(task.container.clone()));
        busy.map_or(Activity::Nothing, |busy| busy.activity)
    }

    /// What there is to say, if somebody listens.
    fn say(&mut self) -> Option<Said> {
        let Contact::Open { session } = self.contact else {
            return None;
        };
        // After a boot all have ended at once. Told one by one, the first would be run again while
        // what it depends on is still believed to run.
        if self.untold == Untold::Everything && self.is_letting_go() {
            return None;
        }
        let mut report = self.report();
        if self.wanted.is_some() {
            report.reruns = self.own.untold();
            self.untold = Untold::Changes;
        }
        (!report.is_empty()).then_some(Said { session, report })
    }

    /// Whether something wanted has ended, and what it holds is being given back for the first time.
    fn is_letting_go(&self) -> bool {
        let wanted = self.wanted.iter();
        let mut tasks = wanted.flat_map(|it| &it.assignment.tasks);
        tasks.any(|task| {
            let subject = Subject::Container(task.container.clone());
            let seen = self.observed.containers.get(&task.container);
            seen.is_some_and(|it| matches!(it.phase, Phase::Ended(_)))
                && !self.failures.contains_key(&subject)
        })
    }

    /// Whatever has changed since the last report.
    fn report(&mut self) -> Report {
        let Some(wanted) = &self.wanted else {
            return Report::default();
        };
        let now = self.clock.now();
        let mut report = Report::default();
        let mut reported = BTreeMap::new();
        for task in &wanted.assignment.tasks {
            let subject = Subject::Container(task.container.clone());
            let activity = self.activity(task);
            let gone = !self.observed.containers.contains_key(&task.container)
                && !self.busy.contains_key(&subject);
            if gone
                && task.desired == DesiredState::Remove
                && self.told.insert(task.container.to_string())
            {
                report.removed_containers.push(task.container.clone());
            }
            let previous = self.reported.remove(&task.id);
            let Some(mut status) = report::status(task, &self.observed, activity, now) else {
                reported.extend(previous.map(|status| (task.id.clone(), status)));
                continue;
            };
            match previous {
                Some(previous) if report::same(&previous, &status) => {
                    status = previous;
                    if self.untold == Untold::Everything {
                        report.tasks.push((task.id.clone(), status.clone()));
                    }
                }
                previous => {
                    // A probe or a new reason does not bring it into another state.
                    if let Some(previous) =
                        previous.filter(|previous| previous.state == status.state)
                    {
                        status.at = previous.at;
                    }
                    report.tasks.push((task.id.clone(), status.clone()));
                }
            }
            reported.insert(task.id.clone(), status);
        }
        for volume in &wanted.assignment.volumes {
            let gone = volume.remove && !self.observed.volumes.contains_key(&volume.spec.name);
            if gone && self.told.insert(volume.spec.name.clone()) {
                report.removed_volumes.push(volume.spec.name.clone());
            }
        }
        self.reported = reported;
        report
    }
}

fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

pub(crate) fn name(op: &Op) -> &'static str {
    match op {
        Op::EnsureNetwork(_) => "make a network",
        Op::RemoveNetwork(_) => "remove a network",
        Op::EnsureVolume(_) => "make a volume",
        Op::RemoveVolume(_) => "remove a volume",
        Op::Prepare(_) => "prepare a container",
        Op::Start(_) => "start a container",
        Op::Adopt(_) => "take over a container",
        Op::PostStart(_) => "run the commands after a start",
        Op::PreStop { .. } => "run the commands before a stop",
        Op::Signal { .. } => "signal a container",
        Op::Kill(_) => "kill a container",
        Op::Release(_) => "release a container",
        Op::Remove { .. } => "remove a container",
    }
}

#[cfg(test)]
mod tests;
