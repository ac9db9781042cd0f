//! What everything looks like when nothing is left to do.

use std::collections::BTreeSet;

use scheduler::model::id::TaskId;
use scheduler::model::node::NodeStatus;
use scheduler::model::service::{Service, ServiceMode};
use scheduler::model::task::{DesiredState, TaskState};
use scheduler::state::State;

use crate::wishes::node;
use crate::world::World;

/// Every node is there and does what it was told last, every container that is wanted runs, and what
/// is not wanted is nowhere.
pub(crate) fn check(world: &World, leader: usize, state: &State) -> Result<(), String> {
    for row in state.nodes.values() {
        if row.status != NodeStatus::Ready {
            return Err(format!("node {} is down: {}", row.id, row.status_reason));
        }
    }
    check_hosts(world, leader, state)?;
    for service in state.services.values() {
        check_service(state, service)?;
    }
    Ok(())
}

fn check_hosts(world: &World, leader: usize, state: &State) -> Result<(), String> {
    let member = world.hosts[leader].member.as_ref();
    let member = member.ok_or("the leader is down")?;
    for (host, it) in world.hosts.iter().enumerate() {
        let id = node(host);
        if world.gone.contains(&host) {
            match state.nodes.contains_key(&id) {
                true => return Err(format!("host {host} is gone and still known")),
                false => continue,
            }
        }
        let wanted = member.assignments.get(&id);
        let wanted = wanted.ok_or(format!("host {host} was told nothing"))?;
        if it.node.told.number() != wanted.number() {
            return Err(format!("host {host} does not know what it is to do"));
        }
        it.node
            .machine
            .check_leftovers(wanted)
            .map_err(|left| format!("host {host}: {left}"))?;
        let believed = state.node_tasks(&id);
        let believed = believed.filter(|task| task.status.state == TaskState::Running);
        let believed: BTreeSet<TaskId> = believed.map(|task| task.id.clone()).collect();
        let running = it.node.machine.running();
        if running != believed {
            return Err(format!(
                "host {host} runs {running:?} and is believed to run {believed:?}"
            ));
        }
    }
    check_addresses(world)
}

/// No two that run have the same address.
fn check_addresses(world: &World) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (host, it) in world.hosts.iter().enumerate() {
        if world.gone.contains(&host) {
            continue;
        }
        for (network, address) in it.node.machine.addresses() {
            if !seen.insert((network, address)) {
                return Err(format!(
                    "address {address} on host {host} is another's, too"
                ));
            }
        }
    }
    Ok(())
}

fn check_service(state: &State, service: &Service) -> Result<(), String> {
    let name = &service.spec.name;
    if service.removal.is_some() {
        return Err(format!("service {name} is not gone"));
    }
    let wanted = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicas as usize,
        ServiceMode::Global | ServiceMode::GlobalJob => state.nodes.len(),
        ServiceMode::ReplicatedJob { completions, .. } => completions as usize,
        ServiceMode::Standalone { .. } => return Ok(()),
    };
    let slots = state.slots(&service.id);
    if !service.rollout.is_finished() {
        let tasks = state.service_tasks(&service.id);
        let tasks = tasks.map(|it| (it.slot, it.version, it.desired, &it.node, &it.status));
        let tasks: Vec<_> = tasks.collect();
        let rollout = &service.rollout;
        return Err(format!(
            "the rollout of {name} has no end: {rollout:?} {tasks:?}"
        ));
    }
    let up = slots.values().filter(|task| match task.status.state {
        TaskState::Running => task.desired == DesiredState::Running,
        state => state == TaskState::Complete,
    });
    let up = up.count();
    if up == wanted {
        return Ok(());
    }
    // The others begin when those that run have ended, which may be in a long time.
    if let ServiceMode::ReplicatedJob { concurrent, .. } = service.spec.mode {
        let running = slots.values();
        let running = running.filter(|task| task.status.state == TaskState::Running);
        if concurrent > 0 && running.count() == concurrent as usize {
            return Ok(());
        }
    }
    let all = slots.values().map(|it| (it.slot, it.desired, &it.status));
    let all: Vec<_> = all.collect();
    Err(format!("{up} of {wanted} {name} run: {all:?}"))
}
