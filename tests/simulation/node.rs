//! The other half of a host: a small model of the node loop. It does one step of each container at a
//! time, says what is so again and again, and keeps what it was told last.
//!
//! Containers outlive the process; only a power cut ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::assignment::{AssignedTask, Assignment};
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::task::{DesiredState, TaskState, TaskStatus};
use scheduler::model::time::Timestamp;
use scheduler::reconcile::{restart, slot};
use scheduler::report::Report;

use crate::chance::Chance;
use crate::rules::Rule;

#[derive(Default)]
pub(crate) struct Node {
    /// What it was told last; on its disk.
    pub(crate) told: Arc<Assignment>,
    containers: BTreeMap<ContainerId, Container>,
    /// The host that it takes for the leader's.
    pub(crate) leader: usize,
    /// Counts up with each connection.
    pub(crate) session: u64,
    pub(crate) unanswered: u32,
}

struct Container {
    task: TaskId,
    status: TaskStatus,
    volumes: Vec<String>,
}

impl Node {
    /// Whether it takes over what it is told.
    pub(crate) fn accept(&mut self, told: Arc<Assignment>, broken: Option<Rule>) -> bool {
        let news = told.number() > self.told.number();
        if news || broken == Some(Rule::RefuseTheOld) && told.number() != self.told.number() {
            self.told = told;
            return true;
        }
        false
    }

    /// One step of each container. What it was not told to have is removed.
    pub(crate) fn turn(&mut self, now: Timestamp, chance: &mut Chance, calm: bool) {
        // Generation zero is no assignment: nothing is touched before.
        if self.told.generation == 0 {
            return;
        }
        let told = self.told.clone();
        let wanted: BTreeSet<&ContainerId> =
            told.tasks.iter().map(|task| &task.container).collect();
        self.containers.retain(|id, _| wanted.contains(id));
        for task in &told.tasks {
            let fails = !calm && chance.happens(2);
            self.step(task, now, fails);
        }
    }

    fn step(&mut self, task: &AssignedTask, now: Timestamp, fails: bool) {
        let known = self.containers.get(&task.container);
        let status = known
            .filter(|it| it.task == task.id)
            .map(|it| it.status.clone());
        let base = status.unwrap_or_else(|| TaskStatus::new(TaskState::Assigned, now, "new"));
        let to = |state: TaskState, reason: &str| TaskStatus {
            state,
            at: now,
            reason: reason.to_owned(),
            ..base.clone()
        };
        let ended = |state, reason: &str, code| TaskStatus {
            exit_code: Some(code),
            finished_at: Some(now),
            ..to(state, reason)
        };
        let state = base.state;
        let early = restart::is_early(&task.restart, task.start_after, now);
        let next = match task.desired {
            DesiredState::Remove if known.is_none() || state.is_terminal() => {
                self.containers.remove(&task.container);
                return;
            }
            DesiredState::Shutdown | DesiredState::Remove if !state.is_terminal() => {
                ended(TaskState::Shutdown, "stopped", 143)
            }
            DesiredState::Ready | DesiredState::Running if state < TaskState::Ready => {
                to(TaskState::Ready, "prepared")
            }
            DesiredState::Running if state == TaskState::Ready && !early => TaskStatus {
                started_at: Some(now),
                image_id: Some(format!("sha256:{}", task.spec.image)),
                ..to(TaskState::Running, "")
            },
            DesiredState::Running if state == TaskState::Running && task.service == "job" => {
                ended(TaskState::Complete, "exit code 0", 0)
            }
            DesiredState::Running if state == TaskState::Running && fails => {
                ended(TaskState::Failed, "exit code 1", 1)
            }
            DesiredState::Ready
            | DesiredState::Running
            | DesiredState::Shutdown
            | DesiredState::Remove => return,
        };
        let container = Container {
            task: task.id.clone(),
            status: next,
            volumes: slot::volumes(&task.spec).map(str::to_owned).collect(),
        };
        self.containers.insert(task.container.clone(), container);
    }

    /// Everything that is so here.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::default();
        for task in &self.told.tasks {
            match self.containers.get(&task.container) {
                Some(seen) if seen.task == task.id => {
                    report.tasks.push((task.id.clone(), seen.status.clone()));
                }
                None if task.desired == DesiredState::Remove => {
                    report.removed_containers.push(task.container.clone());
                }
                Some(_) | None => {}
            }
        }
        for volume in self.told.volumes.iter().filter(|volume| volume.remove) {
            report.removed_volumes.push(volume.spec.name.clone());
        }
        report
    }

    /// The named volumes that something runs on here.
    pub(crate) fn volumes_in_use(&self) -> impl Iterator<Item = &String> {
        let running = self.containers.values();
        let running = running.filter(|it| it.status.state == TaskState::Running);
        running.flat_map(|it| &it.volumes)
    }

    /// Every process has ended, and nobody saw how.
    pub(crate) fn power_cut(&mut self) {
        for seen in self.containers.values_mut() {
            if seen.status.state == TaskState::Running {
                seen.status.state = TaskState::Failed;
                seen.status.reason = "the host was restarted".to_owned();
            }
        }
    }

    /// The next manager is tried.
    pub(crate) fn turn_to(&mut self, host: usize) {
        self.leader = host;
        self.session += 1;
        self.unanswered = 0;
    }
}
