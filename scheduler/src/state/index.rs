//! What is asked for most, derived from the tables and never stored.
//!
//! | index | answers |
//! |---|---|
//! | services | the tasks of a service, and the last one of each of its slots |
//! | restless | which services a decision must look at |
//! | constrained | which services ask for something of their nodes |
//! | unfinished | which services are on their way to a version |
//! | nodes | the tasks of a node, and what they take of it |
//! | troubled | nodes that are down or drained, or gone although something is on them |
//! | containers | the runs of a container |
//! | names | the service with a name in a stack |
//!
//! A service is at rest when there is one container in each of its slots, of its version, wanted to
//! run, on a node, neither ended nor ill, and when its row asks for nothing else. What is at rest is left
//! alone by every pass of a decision, as far as the rows of nodes do not change: so a decision costs
//! as much as there is to decide on, not as much as there is.

use std::sync::Arc;

use super::load::{Claim, Load, holds_place};
use super::{SharedMap, Table};
use crate::model::container::ContainerSpec;
use crate::model::id::{ContainerId, NodeId, ServiceId, TaskId};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::service::{Service, ServiceMode};
use crate::model::task::{DesiredState, HealthStatus, Task, TaskState};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    services: SharedMap<ServiceId, OfService>,
    restless: SharedMap<ServiceId, ()>,
    constrained: SharedMap<ServiceId, ()>,
    unfinished: SharedMap<ServiceId, ()>,
    nodes: SharedMap<NodeId, OfNode>,
    troubled: SharedMap<NodeId, ()>,
    /// The last run of each.
    containers: SharedMap<ContainerId, TaskId>,
    /// Those before, of the few that have run more often: oldest first.
    reruns: SharedMap<ContainerId, Vec<TaskId>>,
    /// Services that are not containers of their own, by stack and key.
    names: SharedMap<String, SharedMap<String, ServiceId>>,
    /// Of a service that is not known.
    nothing: OfService,
}

/// What is known of a service. There before its first task, and after its row while tasks are left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfService {
    row: Option<Arc<Service>>,
    pub(super) tasks: Table<TaskId, Task>,
    /// The last task of each slot.
    pub(super) slots: Table<u32, Task>,
    /// Tasks that are not at rest.
    restless: usize,
}

/// What is known of a node that has tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfNode {
    pub(super) tasks: Table<TaskId, Task>,
    pub(super) load: Load,
}

impl Index {
    pub(super) fn service(&self, id: &ServiceId) -> &OfService {
        self.services.get(id).unwrap_or(&self.nothing)
    }

    pub(super) fn node(&self, id: &NodeId) -> Option<&OfNode> {
        self.nodes.get(id)
    }

    /// Oldest first.
    pub(super) fn runs(&self, id: &ContainerId) -> impl DoubleEndedIterator<Item = &TaskId> {
        let before = self.reruns.get(id).map_or(&[][..], Vec::as_slice);
        before.iter().chain(self.containers.get(id))
    }

    pub(super) fn names(&self, stack: &str) -> Option<&SharedMap<String, ServiceId>> {
        self.names.get(stack)
    }

    pub(super) fn restless(&self) -> impl Iterator<Item = &ServiceId> {
        self.restless.keys()
    }

    pub(super) fn is_restless(&self, id: &ServiceId) -> bool {
        self.restless.contains_key(id)
    }

    pub(super) fn constrained(&self) -> impl Iterator<Item = &ServiceId> {
        self.constrained.keys()
    }

    pub(super) fn unfinished(&self) -> impl Iterator<Item = &ServiceId> {
        self.unfinished.keys()
    }

    pub(super) fn troubled(&self) -> impl Iterator<Item = &NodeId> {
        self.troubled.keys()
    }

    /// Calls every service restless, whatever it is.
    #[cfg(debug_assertions)]
    pub(super) fn disturb(&mut self) {
        let all = self.services.iter();
        let all = all.filter(|(_, it)| it.row.is_some());
        self.restless = all.map(|(id, _)| (id.clone(), ())).collect();
    }

    pub(super) fn set_service(&mut self, row: &Arc<Service>) {
        if let Some(stack) = &row.stack
            && !row.is_standalone()
        {
            let name = row.spec.name.clone();
            self.names
                .get_or_default(stack)
                .insert(name, row.id.clone());
        }
        let constrained = !row.spec.placement.constraints.is_empty();
        mark(&mut self.constrained, &row.id, constrained);
        mark(&mut self.unfinished, &row.id, !row.rollout.is_finished());
        let known = self.services.get_or_default(&row.id);
        let before = known.row.replace(row.clone());
        if before.as_ref().is_none_or(|it| it.version != row.version) {
            let tasks = known.tasks.values();
            known.restless = tasks.filter(|task| !is_at_rest(task, Some(row))).count();
        }
        mark(&mut self.restless, &row.id, !known.is_at_rest());
        self.claim_anew(&row.id, before.as_deref(), Some(row));
    }

    pub(super) fn remove_service(&mut self, row: &Service) {
        if let Some(stack) = &row.stack
            && let Some(names) = self.names.get_mut(stack)
        {
            if names.get(&row.spec.name) == Some(&row.id) {
                names.remove(&row.spec.name);
            }
            if names.is_empty() {
                self.names.remove(stack);
            }
        }
        self.claim_anew(&row.id, Some(row), None);
        mark(&mut self.constrained, &row.id, false);
        mark(&mut self.unfinished, &row.id, false);
        mark(&mut self.restless, &row.id, false);
        if let Some(known) = self.services.get_mut(&row.id) {
            known.row = None;
            known.restless = known.tasks.len();
            if known.tasks.is_empty() {
                self.services.remove(&row.id);
            }
        }
    }

    /// `row` is the node's; there is none of one that is gone.
    pub(super) fn set_node(&mut self, id: &NodeId, row: Option<&Node>) {
        let troubled = match row {
            Some(node) => {
                node.status == NodeStatus::Down || node.availability == Availability::Drain
            }
            None => self.nodes.contains_key(id),
        };
        mark(&mut self.troubled, id, troubled);
    }

    /// Takes over the row of a task in place of the one before.
    pub(super) fn set_task(
        &mut self,
        before: Option<&Arc<Task>>,
        row: &Arc<Task>,
        nodes: &Table<NodeId, Node>,
    ) {
        if before.is_none() {
            self.add_run(row);
        }
        let known = self.services.get_or_default(&row.service);
        known.set_task(before, row);
        let at_rest = known.is_at_rest();
        let service = known.row.clone();
        mark(
            &mut self.restless,
            &row.service,
            !at_rest && service.is_some(),
        );
        self.place(before, row, service.as_deref());
        if before.is_none_or(|before| before.node != row.node) {
            let both = before.iter().filter_map(|it| it.node.as_ref());
            for node in both.chain(&row.node) {
                self.look_for(node, nodes);
            }
        }
    }

    /// A node that is gone is troubled while tasks are still its.
    fn look_for(&mut self, node: &NodeId, nodes: &Table<NodeId, Node>) {
        if !nodes.contains_key(node) {
            mark(&mut self.troubled, node, self.nodes.contains_key(node));
        }
    }

    fn add_run(&mut self, row: &Task) {
        let (container, run) = (row.container.clone(), row.id.clone());
        let Some(last) = self.containers.insert(container.clone(), run.clone()) else {
            return;
        };
        // Ids count up, so that this one is the last; but a row may be set late.
        let (earlier, later) = if last < run { (last, run) } else { (run, last) };
        let before = self.reruns.get_or_default(&container);
        let at = before.partition_point(|known| *known < earlier);
        before.insert(at, earlier);
        self.containers.insert(container, later);
    }

    fn remove_run(&mut self, row: &Task) {
        let mut before = self.reruns.remove(&row.container).unwrap_or_default();
        if self.containers.get(&row.container) != Some(&row.id) {
            before.retain(|run| *run != row.id);
        } else if let Some(last) = before.pop() {
            self.containers.insert(row.container.clone(), last);
        } else {
            self.containers.remove(&row.container);
        }
        if !before.is_empty() {
            self.reruns.insert(row.container.clone(), before);
        }
    }

    pub(super) fn remove_task(&mut self, row: &Arc<Task>, nodes: &Table<NodeId, Node>) {
        self.remove_run(row);
        let mut service = None;
        if let Some(known) = self.services.get_mut(&row.service) {
            known.remove_task(row);
            service.clone_from(&known.row);
            let (at_rest, last) = (known.is_at_rest(), known.tasks.is_empty());
            mark(
                &mut self.restless,
                &row.service,
                !at_rest && service.is_some(),
            );
            if last && service.is_none() {
                self.services.remove(&row.service);
            }
        }
        if let Some(node) = &row.node {
            self.leave(node, row, service.as_deref());
            self.look_for(node, nodes);
        }
    }

    /// Puts a task among those of its node.
    fn place(&mut self, before: Option<&Arc<Task>>, row: &Arc<Task>, service: Option<&Service>) {
        let stays = before.filter(|before| before.node == row.node);
        if let Some(before) = before
            && stays.is_none()
            && let Some(node) = &before.node
        {
            self.leave(node, before, service);
        }
        let Some(node) = &row.node else {
            return;
        };
        let known = self.nodes.get_or_default(node);
        known.tasks.insert(row.id.clone(), row.clone());
        let took = stays.filter(|before| holds_place(before));
        let takes = holds_place(row).then_some(row);
        if took.map(|it| it.version) == takes.map(|it| it.version) {
            return;
        }
        if let Some(before) = took {
            known.load.remove(&claim(service, before));
        }
        if let Some(row) = takes {
            known.load.add(&claim(service, row));
        }
    }

    fn leave(&mut self, node: &NodeId, row: &Task, service: Option<&Service>) {
        let Some(known) = self.nodes.get_mut(node) else {
            return;
        };
        known.tasks.remove(&row.id);
        if holds_place(row) {
            known.load.remove(&claim(service, row));
        }
        if known.tasks.is_empty() {
            self.nodes.remove(node);
        }
    }

    /// The containers of a service take something else of their nodes than before.
    fn claim_anew(&mut self, id: &ServiceId, before: Option<&Service>, after: Option<&Service>) {
        let known = self.services.get(id).filter(|it| !it.tasks.is_empty());
        let Some(known) = known else {
            return;
        };
        let rows = before.into_iter().chain(after);
        let versions = rows.flat_map(|row| row.versions.keys());
        // A version that neither knows is that of the row itself.
        let mut versions = versions.chain([&u64::MAX]);
        let differs = |version: &u64| {
            let (old, new) = (spec(before, *version), spec(after, *version));
            let same = old
                .zip(new)
                .is_some_and(|(old, new)| std::ptr::eq(old, new));
            !same && old.map(Claim::of) != new.map(Claim::of)
        };
        if !versions.any(differs) {
            return;
        }
        for task in known.tasks.values().filter(|task| holds_place(task)) {
            let node = task.node.as_ref().and_then(|node| self.nodes.get_mut(node));
            if let Some(node) = node {
                node.load.remove(&claim(before, task));
                node.load.add(&claim(after, task));
            }
        }
    }
}

impl OfService {
    fn set_task(&mut self, before: Option<&Arc<Task>>, row: &Arc<Task>) {
        let service = self.row.as_deref();
        let restless = |task: &Task| usize::from(!is_at_rest(task, service));
        self.restless += restless(row);
        self.restless -= before.map_or(0, |before| restless(before));
        self.tasks.insert(row.id.clone(), row.clone());
        if self
            .slots
            .get(&row.slot)
            .is_none_or(|last| last.id <= row.id)
        {
            self.slots.insert(row.slot, row.clone());
        }
    }

    fn remove_task(&mut self, row: &Task) {
        self.tasks.remove(&row.id);
        self.restless -= usize::from(!is_at_rest(row, self.row.as_deref()));
        if self
            .slots
            .get(&row.slot)
            .is_some_and(|last| last.id == row.id)
        {
            let before = self.tasks.values().rfind(|other| other.slot == row.slot);
            match before.cloned() {
                Some(before) => self.slots.insert(row.slot, before),
                None => self.slots.remove(&row.slot),
            };
        }
    }

    fn is_at_rest(&self) -> bool {
        let Some(row) = &self.row else {
            return false;
        };
        let replicas = match row.spec.mode {
            ServiceMode::Replicated { replicas } => replicas,
            ServiceMode::Standalone { .. } => 1,
            ServiceMode::Global | ServiceMode::GlobalJob | ServiceMode::ReplicatedJob { .. } => {
                return false;
            }
        };
        let last = self.slots.last().map_or(0, |(slot, _)| *slot);
        self.restless == 0
            && row.removal.is_none()
            && row.halted.is_empty()
            // It follows others, whatever becomes of them.
            && !row.spec.container.shares_with_others()
            && last == replicas
            && self.slots.len() == self.tasks.len()
            && u32::try_from(self.slots.len()) == Ok(replicas)
    }
}

/// Wanted, placed, not ended, and not ill.
fn is_at_rest(task: &Task, service: Option<&Service>) -> bool {
    let health = task.status.health.as_ref();
    health.is_none_or(|health| health.status != HealthStatus::Unhealthy)
        && service.is_some_and(|service| service.version == task.version)
        && task.desired == DesiredState::Running
        && task.status.state >= TaskState::Assigned
        && !task.status.state.is_terminal()
}

fn claim(service: Option<&Service>, task: &Task) -> Claim {
    spec(service, task.version).map_or_else(Claim::default, Claim::of)
}

/// The spec of a version, or else the current one.
fn spec(service: Option<&Service>, version: u64) -> Option<&ContainerSpec> {
    let service = service?;
    let spec = service.versions.get(&version).unwrap_or(&service.spec);
    Some(&spec.container)
}

fn mark<K: Ord + Clone>(set: &mut SharedMap<K, ()>, key: &K, is_in: bool) {
    match (set.contains_key(key), is_in) {
        (false, true) => {
            set.insert(key.clone(), ());
        }
        (true, false) => {
            set.remove(key);
        }
        (true, true) | (false, false) => {}
    }
}
