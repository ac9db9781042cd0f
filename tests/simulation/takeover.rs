//! How much an update may take away: what serves is told to end
//!
//! - with `start-first` only when another one in its slot serves;
//! - with `stop-first` only when less than `parallelism` of the other slots are empty for the update.
//!
//! Whoever is ill, on a node that is down, or superfluous ends for reasons of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use scheduler::model::node::NodeStatus;
use scheduler::model::service::{Service, UpdateOrder};
use scheduler::model::task::{DesiredState, Task, TaskState};
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
        if !same || !ends_for_update(after, service, task) {
            continue;
        }
        let update = service.update_config();
        let broken = match update.order {
            UpdateOrder::StartFirst => !is_followed(after, task),
            UpdateOrder::StopFirst => {
                let most = usize::try_from(update.parallelism).unwrap_or(usize::MAX);
                let empty = empty_for_update(after, service);
                most > 0 && empty.contains(&task.slot) && empty.len() > most
            }
        };
        if broken {
            let empty = empty_for_update(after, service);
            let shown = |state: &State| -> Vec<String> {
                let tasks = state.service_tasks(&task.service);
                let tasks = tasks.filter(|it| it.slot == task.slot || empty.contains(&it.slot));
                let shown = |it: &Arc<Task>| {
                    let (state, reason) = (it.status.state, &it.status.reason);
                    let (slot, id) = (it.slot, &it.id);
                    format!(
                        "{slot}: {id} v{} {:?} {state:?} {reason:?}",
                        it.version, it.desired
                    )
                };
                tasks.map(shown).collect()
            };
            return Err(format!(
                "{} ends ({:?}), and too little serves: {:?} v{}, {:#?} before, {:#?} now",
                task.name,
                update.order,
                service.rollout.phase,
                service.version,
                shown(before),
                shown(after)
            ));
        }
    }
    Ok(())
}

fn ends_for_update(state: &State, service: &Service, task: &Task) -> bool {
    let updated = task.version != service.version;
    let node = task.node.as_ref().and_then(|id| state.nodes.get(id));
    let there = node.is_some_and(|node| node.status == NodeStatus::Ready);
    updated
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

/// The slots whose container was stopped for one that has not come that far yet.
fn empty_for_update(state: &State, service: &Service) -> BTreeSet<u32> {
    let tasks = || state.service_tasks(&service.id);
    let stopped = tasks().filter(|task| {
        task.desired > DesiredState::Running && ends_for_update(state, service, task)
    });
    let on_its_way = |slot: u32| {
        let mut new = tasks().filter(|it| it.slot == slot && it.version == service.version);
        let first = new.next().filter(|_| new.next().is_none());
        let is_coming = |it: &Arc<Task>| it.status.state < TaskState::Running;
        first.is_some_and(|it| it.failures == 0 && it.restarts == 0 && is_coming(it))
    };
    let serves = |task: &Task| task.desired == DesiredState::Running && slot::is_serving(task);
    let served = |slot: u32| tasks().any(|it| it.slot == slot && serves(it));
    let slots = stopped.map(|task| task.slot);
    slots
        .filter(|slot| on_its_way(*slot) && !served(*slot))
        .collect()
}
