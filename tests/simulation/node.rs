//! The other half of a host: the program's own node loop, in a runtime whose clock is the world's.
//!
//!     world ──assignment──► [ session's end ] ─► [ node loop ] ─► machine
//!           ◄──beat, report──                ◄──
//!
//! The loop runs only while the world lets it: until nothing is left to do at this moment. What lies
//! between it and the managers is a model of a session: beats that carry everything that was said in
//! it so far, so that a lost one does no harm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent::clock::Clock;
use agent::ledger::{Remembered, Reruns};
use agent::node::{Contact, Said, Sources, run};
use scheduler::assignment::Assignment;
use scheduler::model::id::TaskId;
use scheduler::model::time::Timestamp;
use scheduler::report::Report;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::machine::Machine;
use crate::rules::Rule;
use crate::world::SECOND;

/// A manager that has not answered for so long may have given this node up.
const SILENT: u64 = 5 * SECOND / 2;
/// What was handed over has been looked at, and what followed from it, and so on.
const ROUNDS: usize = 12;

pub(crate) struct Node {
    /// What it was told last; on its disk, with the restarts of its own.
    pub(crate) told: Arc<Assignment>,
    reruns: Reruns,
    pub(crate) machine: Arc<Machine>,
    process: Option<Process>,
    /// The host that it takes for the leader's.
    pub(crate) leader: usize,
    /// Counts up with each connection.
    pub(crate) session: u64,
    pub(crate) unanswered: u32,
    heard_at: u64,
    /// In this session.
    said: Report,
}

/// A life of the node's process.
struct Process {
    runtime: Runtime,
    /// The same moment by both clocks.
    began: (u64, Instant),
    assignments: watch::Sender<Arc<Assignment>>,
    contact: watch::Sender<Contact>,
    reports: mpsc::Receiver<Said>,
    reruns: watch::Receiver<Reruns>,
}

impl Process {
    fn start(machine: &Arc<Machine>, remembered: Remembered, date: Timestamp, now: u64) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let guard = runtime.enter();
        let clock = Clock::start_at(date);
        let (assignments, told) = watch::channel(Arc::default());
        let (contact, contacts) = watch::channel(Contact::Lost);
        let (report, reports) = mpsc::channel(256);
        let (rerun, reruns) = watch::channel(remembered.reruns.clone());
        let sources = Sources {
            remembered,
            assignments: told,
            contact: contacts,
            events: machine.listen(clock),
            reports: report,
            reruns: rerun,
            statuses: watch::channel(Arc::default()).0,
            troubles: watch::channel(Default::default()).0,
            shutdown: CancellationToken::new(),
        };
        runtime.spawn(run(machine.clone(), clock, sources));
        let began = (now, Instant::now());
        drop(guard);
        Self {
            runtime,
            began,
            assignments,
            contact,
            reports,
            reruns,
        }
    }

    /// Up to this moment, timers in their order.
    fn go_on(&self, now: u64) {
        let until = self.began.1 + Duration::from_micros(now - self.began.0);
        self.runtime.block_on(async move {
            tokio::time::sleep_until(until).await;
            for _ in 0..ROUNDS {
                tokio::task::yield_now().await;
            }
        });
    }
}

impl Node {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            told: Arc::default(),
            reruns: Reruns::new(),
            machine: Machine::new(chance),
            process: None,
            leader: 0,
            session: 0,
            unanswered: 0,
            heard_at: 0,
            said: Report::default(),
        }
    }

    pub(crate) fn start(&mut self, date: Timestamp, now: u64) {
        let assignment = Some(self.told.clone()).filter(|it| it.generation > 0);
        let reruns = self.reruns.clone();
        let remembered = Remembered { assignment, reruns };
        self.heard_at = now;
        self.process = Some(Process::start(&self.machine, remembered, date, now));
        self.turn_to(self.leader);
    }

    /// Containers go on.
    pub(crate) fn crash(&mut self) {
        self.machine.deafen();
        self.process = None;
    }

    /// Whether it takes over what it is told.
    pub(crate) fn accept(&mut self, told: Arc<Assignment>, broken: Option<Rule>, now: u64) -> bool {
        let news = told.number() > self.told.number();
        // One like the remembered one confirms it.
        if let Some(process) = &self.process
            && told.number() >= self.told.number()
        {
            process.assignments.send_replace(told.clone());
            process.go_on(now);
        }
        if news || broken == Some(Rule::RefuseTheOld) && told.number() != self.told.number() {
            self.told = told;
            return true;
        }
        false
    }

    /// The leader, as far as this node knows, has answered.
    pub(crate) fn answered(&mut self, now: u64) {
        self.unanswered = 0;
        self.heard_at = now;
        let contact = Contact::Open {
            session: self.session,
        };
        if let Some(process) = &self.process {
            process
                .contact
                .send_if_modified(|it| std::mem::replace(it, contact) != contact);
        }
    }

    /// Time goes by for the node's process and its machine. Returns whether there is something to say.
    pub(crate) fn turn(&mut self, date: Timestamp, now: u64) -> bool {
        self.machine.live(date);
        let Some(process) = &mut self.process else {
            return false;
        };
        if now - self.heard_at > SILENT {
            let silence =
                |it: &mut Contact| std::mem::replace(it, Contact::Silent) != Contact::Silent;
            process.contact.send_if_modified(silence);
        }
        process.go_on(now);
        self.reruns.clone_from(&process.reruns.borrow());
        let mut news = false;
        while let Ok(said) = process.reports.try_recv() {
            if said.session == self.session {
                merge(&mut self.said, said.report);
                news = true;
            }
        }
        news
    }

    /// Everything that was said in this session, as far as anybody still cares.
    pub(crate) fn report(&mut self) -> Report {
        let tasks: BTreeSet<&TaskId> = self.told.tasks.iter().map(|task| &task.id).collect();
        self.said.tasks.retain(|(task, _)| tasks.contains(task));
        self.said.clone()
    }

    /// The next manager is tried.
    pub(crate) fn turn_to(&mut self, host: usize) {
        self.leader = host;
        self.session += 1;
        self.unanswered = 0;
        self.said = Report::default();
        if let Some(process) = &self.process {
            process.contact.send_if_modified(|it| match it {
                Contact::Open { .. } => {
                    *it = Contact::Lost;
                    true
                }
                Contact::Lost | Contact::Silent => false,
            });
        }
    }
}

/// What was said later counts.
fn merge(all: &mut Report, news: Report) {
    for (task, status) in news.tasks {
        match all.tasks.iter_mut().find(|(known, _)| *known == task) {
            Some((_, known)) => *known = status,
            None => all.tasks.push((task, status)),
        }
    }
    for container in news.removed_containers {
        if !all.removed_containers.contains(&container) {
            all.removed_containers.push(container);
        }
    }
    for volume in news.removed_volumes {
        if !all.removed_volumes.contains(&volume) {
            all.removed_volumes.push(volume);
        }
    }
    for rerun in news.reruns {
        match all.reruns.iter_mut().find(|known| known.task == rerun.task) {
            Some(known) => *known = rerun,
            None => all.reruns.push(rerun),
        }
    }
}
