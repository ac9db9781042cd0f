//! A service that starts the next container before it stops the last one is never without for the
//! sake of an update: what serves is told to end only when another one in its slot does.
//!
//! Whoever is ill, on a node that is down, or superfluous ends for reasons of their own.

use std::sync::Arc;

use scheduler::model::node::NodeStatus;
use scheduler::model::service::{Service, UpdateOrder};
use scheduler::model::task::{DesiredState, Task};
use scheduler::reconcile::slot;
use scheduler::state::State;

/// Looks at one step from a version of the state to the next.
pub(crate) fn check(before: &State, after: &State) -> Result<(), String> {
    let ended = before.tasks.values().filter_map(|task| {
        let now = after.tasks.get(&task.id)?;
        let ended = task.desired == DesiredState::Running && now.desired > DesiredState::Running;
        // What has failed or is ill now ends for that.
        (ended && slot::is_serving(now)).then_some(now)
    });
    for task in ended {
        let Some(service) = after.service_of(task) else {
            continue;
        };
        // Whoever deploys may ask for fewer.
        let same = before
            .services
            .get(&service.id)
            .is_some_and(|it| it.spec == service.spec);
        if same && must_be_followed(after, service, task) && !is_followed(after, task) {
            let shown = |state: &State| -> Vec<String> {
                let slot = state.service_tasks(&task.service);
                let slot = slot.filter(|it| it.slot == task.slot);
                let shown = |it: &Arc<Task>| {
                    let status = (it.status.state, &it.status.reason);
                    format!("{:?} v{} {:?} {status:?}", it.id, it.version, it.desired)
                };
                slot.map(shown).collect()
            };
            return Err(format!(
                "{} ends, and nothing serves instead: {:?} v{}, {:?} before, {:?} now",
                task.name,
                service.rollout.phase,
                service.version,
                shown(before),
                shown(after)
            ));
        }
    }
    Ok(())
}

fn must_be_followed(state: &State, service: &Service, task: &Task) -> bool {
    let updated = task.version != service.version;
    let starts_first = service.update_config().order == UpdateOrder::StartFirst;
    let node = task.node.as_ref().and_then(|id| state.nodes.get(id));
    let there = node.is_some_and(|node| node.status == NodeStatus::Ready);
    updated
        && starts_first
        && there
        && task.condemned.is_none()
        && service.removal.is_none()
        && !service.is_job()
        && !service.is_standalone()
        && slot::active(state, service).contains(&task.slot)
}

fn is_followed(state: &State, task: &Task) -> bool {
    state.service_tasks(&task.service).any(|other| {
        other.slot == task.slot
            && other.container != task.container
            && other.desired == DesiredState::Running
            && slot::is_serving(other)
    })
}
