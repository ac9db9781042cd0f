//! Reads the status of a stack off the state.
//!
//! A service is judged by the last task of each slot that is wanted, worst first:
//!
//!     Failed ◄── rejected, failed without a restart to come, update paused, dependency failed
//!     Waiting ◄─ a dependency does not hold yet, as the gate says it; the node with its data is down
//!     Progressing ◄─ no task yet, not there yet, old version still there
//!     Settled ◄─ as wanted

use std::collections::{BTreeMap, BTreeSet};

use super::{ContainerStatus, ResourceStatus, ServicePhase, ServiceStatus, StackStatus};
use crate::assignment::build::spec_of;
use crate::model::container::HealthTest;
use crate::model::id::ContainerId;
use crate::model::node::NodeStatus;
use crate::model::rollout::RolloutPhase;
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task, TaskState};
use crate::reconcile::gate::{Gate, gate};
use crate::reconcile::restart::is_final;
use crate::reconcile::slot;
use crate::state::State;

/// The status of a stack; empty, but for its name, if there is none.
pub fn of(state: &State, stack: &str) -> StackStatus {
    let mut services: BTreeMap<&str, ServiceStatus> = BTreeMap::new();
    for service in state.stack_services(stack) {
        services.insert(&service.spec.name, service_status(state, service));
    }
    for service in one_offs(state, stack) {
        services
            .entry(&service.spec.name)
            .or_insert_with(|| empty_status(service))
            .containers
            .extend(containers(state, service));
    }
    let networks = state
        .networks
        .values()
        .filter(|network| network.stack.as_deref() == Some(stack));
    let volumes = state
        .volumes
        .values()
        .filter(|volume| volume.stack.as_deref() == Some(stack));
    StackStatus {
        name: stack.to_owned(),
        revision: state.version,
        services: services.into_values().collect(),
        networks: networks
            .map(|network| resource(&network.spec.name, network.removing))
            .collect(),
        volumes: volumes
            .map(|volume| resource(&volume.spec.name, volume.removing))
            .collect(),
        pulls: Vec::new(),
        leaving_networks: Vec::new(),
        troubles: Vec::new(),
    }
}

fn resource(name: &str, removing: bool) -> ResourceStatus {
    ResourceStatus {
        name: name.to_owned(),
        removing,
    }
}

/// Containers that `run` made after a service of the stack.
fn one_offs<'a>(state: &'a State, stack: &'a str) -> impl Iterator<Item = &'a Service> {
    state
        .services
        .values()
        .map(AsRef::as_ref)
        .filter(move |service| service.is_standalone() && service.stack.as_deref() == Some(stack))
}

fn service_status(state: &State, service: &Service) -> ServiceStatus {
    let verdict = judge(state, service);
    ServiceStatus {
        wanted: u32::try_from(slot::active(state, service).len()).unwrap_or(u32::MAX),
        phase: verdict.phase,
        reason: verdict.reason,
        containers: containers(state, service),
        rollout: super::rollout::of(state, service),
        ..empty_status(service)
    }
}

fn empty_status(service: &Service) -> ServiceStatus {
    let spec = &service.spec;
    let check = spec
        .container
        .healthcheck
        .as_ref()
        .and_then(|check| check.test.as_ref());
    ServiceStatus {
        name: spec.name.clone(),
        image: spec.container.image.clone(),
        wanted: 0,
        phase: ServicePhase::Settled,
        reason: String::new(),
        depends_on: spec.depends_on.keys().cloned().collect(),
        has_healthcheck: check.is_some_and(|test| *test != HealthTest::Disabled),
        attach: spec.attach,
        containers: Vec::new(),
        rollout: None,
    }
}

/// The last run of each container, in the order of slots.
fn containers(state: &State, service: &Service) -> Vec<ContainerStatus> {
    let mut last: BTreeMap<&ContainerId, &Task> = BTreeMap::new();
    for task in state.service_tasks(&service.id) {
        last.insert(&task.container, task);
    }
    let mut containers: Vec<_> = last
        .into_values()
        .map(|task| container_status(state, service, task))
        .collect();
    containers.sort_by(|a, b| (a.slot, &a.task).cmp(&(b.slot, &b.task)));
    containers
}

fn container_status(state: &State, service: &Service, task: &Task) -> ContainerStatus {
    let node = task.node.as_ref().map(|id| {
        state.nodes.get(id).map_or_else(
            || id.short().to_owned(),
            |node| node.description.hostname.clone(),
        )
    });
    ContainerStatus {
        id: task.container.clone(),
        task: task.id.clone(),
        name: task.name.clone(),
        slot: task.slot,
        node,
        state: task.status.state,
        desired: task.desired,
        at: task.status.at,
        reason: task.status.reason.clone(),
        exit_code: task.status.exit_code,
        fault: task.status.fault,
        unstarted: task.status.exit_code.is_some() && task.status.started_at.is_none(),
        health: task.status.health.as_deref().cloned(),
        current: task.version == service.version,
        one_off: service.is_standalone(),
        restarts: task.restarts,
        restarted_after: restarted_after(state, task),
        awaits: out_of_reach(state, service, task),
    }
}

/// Its node is down, and no other can run it: that one has its data.
fn out_of_reach(state: &State, service: &Service, task: &Task) -> Option<String> {
    let is_for_all = service.is_on_each_node() || service.is_standalone();
    if is_for_all || task.desired > DesiredState::Running || task.status.state.is_terminal() {
        return None;
    }
    let node = state.nodes.get(task.node.as_ref()?)?;
    let spec = spec_of(state, task)?;
    let mut volumes = slot::volumes(&spec.container);
    let is_there = |name: &&str| {
        let volume = state.volumes.get(*name);
        volume.is_some_and(|volume| volume.node == task.node)
    };
    let volume = volumes.find(is_there)?;
    (node.status == NodeStatus::Down).then(|| {
        let node = node.name();
        format!("for node {node} to return: it is down, and the data of volume {volume} is there")
    })
}

/// How the run before ended, of a container that its policy has started again.
fn restarted_after(state: &State, task: &Task) -> Option<String> {
    let runs = state.container_tasks(&task.container);
    let before = runs.filter(|run| run.id < task.id && task.restarts > 0);
    let last = before.max_by(|a, b| a.id.cmp(&b.id))?;
    Some(last.status.reason.clone())
}

/// A phase and its reason; the worst of several counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    phase: ServicePhase,
    reason: String,
}

impl Verdict {
    const SETTLED: Self = Self {
        phase: ServicePhase::Settled,
        reason: String::new(),
    };

    fn failed(reason: impl Into<String>) -> Self {
        Self {
            phase: ServicePhase::Failed,
            reason: reason.into(),
        }
    }

    fn waiting(reason: impl Into<String>) -> Self {
        Self {
            phase: ServicePhase::Waiting,
            reason: reason.into(),
        }
    }

    fn progressing(reason: impl Into<String>) -> Self {
        Self {
            phase: ServicePhase::Progressing,
            reason: reason.into(),
        }
    }

    fn or_worse(self, other: Self) -> Self {
        if other.gravity() > self.gravity() {
            other
        } else {
            self
        }
    }

    fn gravity(&self) -> u8 {
        match self.phase {
            ServicePhase::Settled => 0,
            ServicePhase::Progressing => 1,
            ServicePhase::Waiting => 2,
            ServicePhase::Failed => 3,
            ServicePhase::Removing => 4,
        }
    }
}

fn judge(state: &State, service: &Service) -> Verdict {
    if service.removal.is_some() {
        return Verdict {
            phase: ServicePhase::Removing,
            reason: "its containers are being stopped and removed".to_owned(),
        };
    }
    let slots = state.slots(&service.id);
    let wanted = slot::active(state, service);
    let mut verdict = leftovers(state, service, &wanted).or_worse(of_rollout(state, service));
    for slot in wanted {
        let found = match slots.get(&slot) {
            Some(task) => judge_task(state, service, task),
            None => unplaced(state, service, "its container has not been made yet"),
        };
        verdict = verdict.or_worse(found);
    }
    verdict
}

/// Containers that are not (or no longer) wanted and still there.
fn leftovers(state: &State, service: &Service, wanted: &BTreeSet<u32>) -> Verdict {
    let mut verdict = Verdict::SETTLED;
    for task in state.service_tasks(&service.id) {
        let alive = !task.status.state.is_terminal();
        let found = match () {
            () if task.desired >= DesiredState::Shutdown && is_out_of_reach(state, task) => {
                Verdict::SETTLED
            }
            () if alive && task.version != service.version => {
                old_version(service, task).or_worse(awaited(state, service, task))
            }
            () if alive && !wanted.contains(&task.slot) => {
                Verdict::progressing(format!("{} is being stopped", task.name))
            }
            () if alive && task.desired >= DesiredState::Shutdown => {
                Verdict::progressing(format!("{} is being stopped", task.name))
            }
            () if task.desired == DesiredState::Remove => {
                Verdict::progressing(format!("{} is being removed", task.name))
            }
            () => Verdict::SETTLED,
        };
        verdict = verdict.or_worse(found);
    }
    verdict
}

/// Its node is down, and drops it when it returns: that may be never, and nobody waits for it.
fn is_out_of_reach(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|id| state.nodes.get(id));
    node.is_some_and(|node| node.status == NodeStatus::Down)
}

fn old_version(service: &Service, task: &Task) -> Verdict {
    if let Some(paused) = paused(service) {
        return paused;
    }
    Verdict::progressing(format!("{} still runs the version before", task.name))
}

fn paused(service: &Service) -> Option<Verdict> {
    let what = match service.rollout.phase {
        RolloutPhase::Paused => "update",
        RolloutPhase::RollbackPaused => "rollback",
        RolloutPhase::Deploying
        | RolloutPhase::Updating
        | RolloutPhase::Completed
        | RolloutPhase::RollingBack
        | RolloutPhase::RolledBack => return None,
    };
    let reason = &service.rollout.reason;
    Some(Verdict::failed(format!("the {what} is paused: {reason}")))
}

/// An update whose steps are watched is over when its last container has proved itself.
fn of_rollout(state: &State, service: &Service) -> Verdict {
    if let Some(paused) = paused(service) {
        return paused;
    }
    let watched = match service.rollout.phase {
        RolloutPhase::Updating => {
            !service.update_config().is_composes() && !slot::active(state, service).is_empty()
        }
        RolloutPhase::RollingBack => true,
        RolloutPhase::Deploying
        | RolloutPhase::Paused
        | RolloutPhase::Completed
        | RolloutPhase::RollbackPaused
        | RolloutPhase::RolledBack => false,
    };
    match super::rollout::of(state, service) {
        Some(rollout) if watched => Verdict::progressing(rollout.text),
        _ => Verdict::SETTLED,
    }
}

fn judge_task(state: &State, service: &Service, task: &Task) -> Verdict {
    if task.version != service.version {
        // What still runs is counted among the leftovers; a dead one awaits its successor.
        return match old_version(service, task) {
            paused @ Verdict {
                phase: ServicePhase::Failed,
                ..
            } => paused,
            _ => unplaced(state, service, "its new container has not been made yet"),
        };
    }
    let verdict = match task.status.state {
        TaskState::New | TaskState::Pending => unplaced(state, service, &task.status.reason),
        TaskState::Ready if task.desired == DesiredState::Ready => Verdict::SETTLED,
        TaskState::Assigned | TaskState::Preparing | TaskState::Ready | TaskState::Starting => {
            Verdict::progressing(format!("{}: {}", task.name, task.status.reason))
        }
        TaskState::Running if task.desired <= DesiredState::Running => Verdict::SETTLED,
        TaskState::Running | TaskState::Shutdown | TaskState::Orphaned => {
            Verdict::progressing(format!("{} is being replaced", task.name))
        }
        TaskState::Complete if is_final(state, task) => Verdict::SETTLED,
        TaskState::Complete | TaskState::Failed | TaskState::Rejected if !is_final(state, task) => {
            Verdict::progressing(format!(
                "{} is restarting: {}",
                task.name, task.status.reason
            ))
        }
        TaskState::Complete => Verdict::SETTLED,
        TaskState::Failed | TaskState::Rejected => Verdict::failed(ending(task)),
    };
    verdict.or_worse(awaited(state, service, task))
}

/// What was last heard of a container says nothing while its node is down.
fn awaited(state: &State, service: &Service, task: &Task) -> Verdict {
    match out_of_reach(state, service, task) {
        Some(awaits) => Verdict::waiting(format!("waiting {awaits}")),
        None => Verdict::SETTLED,
    }
}

/// How a container ended, with its exit code.
fn ending(task: &Task) -> String {
    match task.status.exit_code {
        Some(code) if task.status.state == TaskState::Failed => {
            format!(
                "container {} exited ({code}): {}",
                task.name, task.status.reason
            )
        }
        _ => format!(
            "container {} cannot start: {}",
            task.name, task.status.reason
        ),
    }
}

/// A slot without a container on a node: because of a dependency, or because it takes a moment.
fn unplaced(state: &State, service: &Service, reason: &str) -> Verdict {
    match gate(state, service) {
        Gate::Open => Verdict::progressing(reason),
        Gate::Waiting(reason) => Verdict::waiting(reason),
        Gate::Failed(reason) => Verdict::failed(reason),
    }
}

#[cfg(test)]
mod tests;
