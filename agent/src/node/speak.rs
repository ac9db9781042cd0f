//! What is said of what was observed: to the manager that leads, and to whoever looks at this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::AssignedTask;
use scheduler::model::id::TaskId;
use scheduler::model::task::{DesiredState, TaskStatus};
use scheduler::report::Report;

use super::{Contact, Node, Said, Untold};
use crate::host::{Host, Phase, Subject};
use crate::report::{self, Activity};

impl<H: Host> Node<H> {
    /// Shows what can be seen of each task, if somebody looks.
    pub(super) fn show(&self) {
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
    pub(super) fn say(&mut self) -> Option<Said> {
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
