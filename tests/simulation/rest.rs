//! What everything looks like when nothing is left to do.

use scheduler::model::node::NodeStatus;
use scheduler::model::service::ServiceMode;
use scheduler::model::task::{DesiredState, TaskState};
use scheduler::state::State;

use crate::wishes::node;
use crate::world::World;

/// Every node is there and does what it was told last, and every container that is wanted runs.
pub(crate) fn check(world: &World, leader: usize, state: &State) -> Result<(), String> {
    for row in state.nodes.values() {
        if row.status != NodeStatus::Ready {
            return Err(format!("node {} is down: {}", row.id, row.status_reason));
        }
    }
    let member = world.hosts[leader].member.as_ref();
    let member = member.ok_or("the leader is down")?;
    for (host, it) in world.hosts.iter().enumerate() {
        let wanted = member.assignments.get(&node(host));
        let wanted = wanted.ok_or(format!("host {host} was told nothing"))?;
        if it.node.told.number() != wanted.number() {
            return Err(format!("host {host} does not know what it is to do"));
        }
    }
    for service in state.services.values() {
        if service.removal.is_some() {
            return Err(format!("service {} is not gone", service.spec.name));
        }
        let ServiceMode::Replicated { replicas } = service.spec.mode else {
            continue;
        };
        let slots = state.slots(&service.id);
        let up = slots.values().filter(|task| match task.status.state {
            TaskState::Running => task.desired == DesiredState::Running,
            state => state == TaskState::Complete,
        });
        let up = up.count();
        if up != replicas as usize {
            let all = slots.values().map(|it| (it.slot, it.desired, &it.status));
            let all: Vec<_> = all.collect();
            return Err(format!(
                "{up} of {replicas} {} run: {all:?}",
                service.spec.name
            ));
        }
    }
    Ok(())
}
