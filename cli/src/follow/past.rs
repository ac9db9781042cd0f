//! What was ill before the command began is no verdict on what the command has changed.
//!
//!     before:  db unhealthy, 7 probes failed ┐
//!     picture: db unhealthy, 7 probes failed ┴─► db is still to be probed, web waits for it
//!     picture: db unhealthy, 8 probes failed ──► as it is: web cannot start
//!
//! Everything else that failed before is begun anew by the command itself.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::model::id::TaskId;
use scheduler::model::task::{HealthStatus, TaskState};
use scheduler::status::{ContainerStatus, ServicePhase, ServiceStatus, StackStatus};

/// The containers that were unhealthy already, by their run, with the probes that had failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past(BTreeMap<TaskId, u32>);

impl Past {
    pub(crate) fn of(before: &StackStatus) -> Self {
        let containers = before.services.iter().flat_map(|it| &it.containers);
        Self(
            containers
                .filter_map(|it| Some((it.task.clone(), unhealthy(it)?)))
                .collect(),
        )
    }

    /// The picture, with the verdicts withheld that rest on nothing but probes of before.
    pub(crate) fn forgive(&self, mut picture: StackStatus) -> StackStatus {
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
        let before = self.0.get(&container.task).copied();
        before.is_some() && before == unhealthy(container)
    }
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
        let past = before.map_or_else(Past::default, |before| Past::of(&picture(before)));
        let seen = past.forgive(picture(streak));
        let web = seen.services.iter().find(|it| it.name == "web").unwrap();
        assert_eq!(web.phase, expected);
    }

    #[test]
    fn what_was_unhealthy_before_has_the_chance_of_its_next_probe() {
        check(Some(7), 7, ServicePhase::Waiting);
        check(Some(7), 8, ServicePhase::Failed);
        check(None, 7, ServicePhase::Failed);
    }
}
