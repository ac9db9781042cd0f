//! A picture, judged by how it was when the command began.
//!
//! What was ill before is no verdict on what the command has changed.
//!
//!     before:  db unhealthy, 7 probes failed ┐
//!     picture: db unhealthy, 7 probes failed ┴─► db is still to be probed, web waits for it
//!     picture: db unhealthy, 8 probes failed ──► as it is: web cannot start
//!
//! Everything else that failed before is begun anew by the command itself.
//!
//! And what ends again and again will not get there, although its policy never gives it up: who
//! waits for it would wait for ever.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::task::{HealthStatus, TaskState};
use scheduler::model::time::Timestamp;
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};

/// Runs of a container that may end while others wait for it. The delays between them grow: this many
/// take some seconds, which is enough for a program that only came up before what it needs.
const RUNS: u32 = 5;

/// Whose restarts are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Those that another service waits for.
    #[default]
    Dependencies,
    /// `--wait`: every one.
    All,
}

/// How it was when the command began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// The containers that were unhealthy already, by their run, with the probes that had failed.
    unhealthy: BTreeMap<TaskId, u32>,
    restarts: BTreeMap<ContainerId, u32>,
    /// When the updates had begun that were over already, by service.
    updates: BTreeMap<String, Timestamp>,
    awaited: Awaited,
}

impl Past {
    pub(crate) fn of(before: &StackStatus, awaited: Awaited) -> Self {
        let containers = || before.services.iter().flat_map(|it| &it.containers);
        Self {
            unhealthy: containers()
                .filter_map(|it| Some((it.task.clone(), unhealthy(it)?)))
                .collect(),
            restarts: containers()
                .map(|it| (it.id.clone(), it.restarts))
                .collect(),
            updates: before.services.iter().filter_map(ended_update).collect(),
            awaited,
        }
    }

    /// The picture, with the verdicts that follow from the past.
    pub(crate) fn judge(&self, picture: StackStatus) -> StackStatus {
        self.condemn(self.forgive(self.forget(picture)))
    }

    /// How an update ended before is not told again.
    fn forget(&self, mut picture: StackStatus) -> StackStatus {
        for service in &mut picture.services {
            let ended = ended_update(service).map(|(_, began)| began);
            if ended.is_some() && ended == self.updates.get(&service.name).copied() {
                service.rollout = None;
            }
        }
        picture
    }

    /// What ends again and again has failed, and so have those that wait for it.
    fn condemn(&self, mut picture: StackStatus) -> StackStatus {
        let waiting = picture.services.iter();
        let waiting = waiting.filter(|it| it.phase == ServicePhase::Waiting);
        let needed: BTreeSet<String> = waiting.flat_map(|it| it.depends_on.clone()).collect();
        let mut lost = BTreeSet::new();
        for service in &mut picture.services {
            let is_awaited = self.awaited == Awaited::All || needed.contains(&service.name);
            let mut containers = service.containers.iter();
            if let Some(loops) = containers.find(|it| self.keeps_ending(it))
                && is_awaited
            {
                service.phase = ServicePhase::Failed;
                service.reason = format!("{} keeps ending", loops.name);
                lost.insert(service.name.clone());
            }
        }
        for service in &mut picture.services {
            let needs_lost = service.depends_on.iter().find(|it| lost.contains(*it));
            if let (ServicePhase::Waiting, Some(name)) = (service.phase, needs_lost) {
                service.phase = ServicePhase::Failed;
                service.reason = format!("dependency {name} failed: it keeps ending");
            }
        }
        picture
    }

    fn keeps_ending(&self, container: &ContainerStatus) -> bool {
        let before = self.restarts.get(&container.id).copied().unwrap_or(0);
        // Beginning anew by the command counts from zero.
        let ended = match container.restarts.checked_sub(before) {
            Some(since) => since,
            None => container.restarts,
        };
        ended >= RUNS && container.restarted_after.is_some() && !container.one_off
    }

    /// The picture, with the verdicts withheld that rest on nothing but probes of before.
    fn forgive(&self, mut picture: StackStatus) -> StackStatus {
        let ill: BTreeSet<String> = (picture.services.iter())
            .filter(|it| it.containers.iter().any(|it| self.is_old(it)))
            .map(|it| it.name.clone())
            .collect();
        if ill.is_empty() {
            return picture;
        }
        let needs: BTreeMap<String, Vec<String>> = (picture.services.iter())
            .map(|it| (it.name.clone(), it.depends_on.clone()))
            .collect();
        for service in &mut picture.services {
            if service.phase == ServicePhase::Failed
                && !has_failed_itself(service)
                && let Some(name) = needed(&needs, &service.name, &ill)
            {
                service.phase = ServicePhase::Waiting;
                service.reason = format!("waiting for the next probe of {name}");
            }
            for container in &mut service.containers {
                if self.is_old(container)
                    && let Some(health) = &mut container.health
                {
                    health.status = HealthStatus::Starting;
                }
            }
        }
        picture
    }

    fn is_old(&self, container: &ContainerStatus) -> bool {
        let before = self.unhealthy.get(&container.task).copied();
        before.is_some() && before == unhealthy(container)
    }
}

fn ended_update(service: &ServiceStatus) -> Option<(String, Timestamp)> {
    let rollout = service.rollout.as_ref();
    let ended = rollout.filter(|it| it.ended_at.is_some())?;
    Some((service.name.clone(), ended.started_at))
}

/// The number of probes that have failed, when that is too many.
fn unhealthy(container: &ContainerStatus) -> Option<u32> {
    let health = container.health.as_ref()?;
    (health.status == HealthStatus::Unhealthy).then_some(health.failing_streak)
}

fn has_failed_itself(service: &ServiceStatus) -> bool {
    let mut states = service.containers.iter().map(|it| it.state);
    states.any(|it| matches!(it, TaskState::Failed | TaskState::Rejected))
}

/// The first of these that the service needs, be it through others.
fn needed<'a>(
    needs: &'a BTreeMap<String, Vec<String>>,
    service: &str,
    ill: &BTreeSet<String>,
) -> Option<&'a String> {
    let direct = |name: &str| needs.get(name).into_iter().flatten();
    let mut open: Vec<&String> = direct(service).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if ill.contains(name) {
            return Some(name);
        }
        if seen.insert(name) {
            open.extend(direct(name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::stack;

    /// The phase of `web`, which depends on `db`; `streak` probes of `db` have failed.
    #[track_caller]
    fn check(before: Option<u32>, streak: u32, expected: ServicePhase) {
        let picture = |streak: u32| {
            let mut stack = stack("db:running! web:pending/failed");
            let containers = stack.services.iter_mut().flat_map(|it| &mut it.containers);
            for health in containers.filter_map(|it| it.health.as_mut()) {
                health.status = HealthStatus::Unhealthy;
                health.failing_streak = streak;
            }
            stack
        };
        let past = before.map_or_else(Past::default, |before| {
            Past::of(&picture(before), Awaited::Dependencies)
        });
        let seen = past.judge(picture(streak));
        let web = seen.services.iter().find(|it| it.name == "web").unwrap();
        assert_eq!(web.phase, expected);
    }

    #[test]
    fn what_was_unhealthy_before_has_the_chance_of_its_next_probe() {
        check(Some(7), 7, ServicePhase::Waiting);
        check(Some(7), 8, ServicePhase::Failed);
        check(None, 7, ServicePhase::Failed);
    }

    /// The phases of `db`, which was restarted so often before and now, and of `web`, which needs it.
    #[track_caller]
    fn check_restarts(
        awaited: Awaited,
        web: &str,
        before: u32,
        now: u32,
        expected: [ServicePhase; 2],
    ) {
        let picture = |restarts: u32| {
            let mut stack = stack(&format!("db:starting/progressing web:{web}"));
            for container in stack.services.iter_mut().flat_map(|it| &mut it.containers) {
                if container.name.contains("db") {
                    container.restarts = restarts;
                    container.restarted_after = Some("exit code 3".to_owned());
                }
            }
            stack
        };
        let seen = Past::of(&picture(before), awaited).judge(picture(now));
        let phases: Vec<_> = seen.services.iter().map(|it| it.phase).collect();
        assert_eq!(phases, expected);
    }

    #[test]
    fn nobody_waits_for_ever_for_what_ends_again_and_again() {
        use ServicePhase::{Failed, Progressing, Settled, Waiting};
        let one = Awaited::Dependencies;
        check_restarts(one, "pending/waiting", 0, 4, [Progressing, Waiting]);
        check_restarts(one, "pending/waiting", 0, 5, [Failed, Failed]);
        check_restarts(one, "pending/waiting", 9, 10, [Progressing, Waiting]);
        check_restarts(one, "pending/waiting", 9, 5, [Failed, Failed]);
        check_restarts(one, "running", 0, 5, [Progressing, Settled]);
        check_restarts(Awaited::All, "running", 0, 5, [Failed, Settled]);
    }
}
