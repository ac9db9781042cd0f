//! What a batch has touched, as far as nodes are told of it.

use std::collections::BTreeSet;

use crate::model::container::{ContainerSpec, FileGrant};
use crate::model::id::{NetworkId, NodeId, ServiceId, TaskId};
use crate::model::node::{Node, Role};
use crate::model::task::Task;
use crate::state::{Change, State};

/// Whoever is not named has nothing new to hear.
#[derive(Debug, Default)]
pub struct Touched {
    /// Nobody knows what.
    pub(super) anything: bool,
    /// What all nodes are told of each other and of the cluster.
    pub(super) everyone: bool,
    /// Nodes with another row or other volumes.
    pub(super) nodes: BTreeSet<NodeId>,
    /// As often as they were.
    pub(super) tasks: Vec<TaskId>,
    /// Services with other tasks than before.
    pub(super) services: BTreeSet<ServiceId>,
    /// Services of which every task is told otherwise.
    pub(super) rows: BTreeSet<ServiceId>,
    pub(super) networks: BTreeSet<NetworkId>,
    pub(super) volumes: bool,
}

impl Touched {
    /// Finds out what changes make of one state that lead to the other.
    pub fn by(changes: &[Change], before: &State, after: &State) -> Self {
        let mut touched = Self::default();
        for change in changes {
            touched.note(change, [before, after]);
        }
        touched
    }

    /// Whatever there is.
    pub fn anything() -> Self {
        Self {
            anything: true,
            ..Self::default()
        }
    }

    pub fn extend(&mut self, other: Self) {
        self.anything |= other.anything;
        self.everyone |= other.everyone;
        self.nodes.extend(other.nodes);
        self.tasks.extend(other.tasks);
        self.services.extend(other.services);
        self.rows.extend(other.rows);
        self.networks.extend(other.networks);
        self.volumes |= other.volumes;
    }

    fn note(&mut self, change: &Change, states: [&State; 2]) {
        match change {
            Change::SetTask(row) => {
                self.row(row);
                states[0]
                    .tasks
                    .get(&row.id)
                    .into_iter()
                    .for_each(|row| self.row(row));
            }
            Change::RemoveTask(id) | Change::Observe(id, _) | Change::Desire(id, ..) => {
                self.task(id, states);
            }
            Change::ForgetContainer(id) => {
                let runs = states
                    .into_iter()
                    .flat_map(|state| state.container_tasks(id));
                let runs: BTreeSet<&TaskId> = runs.map(|run| &run.id).collect();
                runs.into_iter().for_each(|run| self.task(run, states));
            }
            Change::SetService(row) => drop(self.rows.insert(row.id.clone())),
            Change::RemoveService(id) => drop(self.rows.insert(id.clone())),
            Change::SetStack(row) => self.stack(&row.name, states),
            Change::RemoveStack(name) => self.stack(name, states),
            Change::SetNode(row) => self.node(&row.id, states),
            Change::SetNetwork(row) => drop(self.networks.insert(row.id.clone())),
            Change::RemoveNetwork(id) => drop(self.networks.insert(id.clone())),
            Change::SetVolume(row) => self.volume(&row.spec.name, states),
            Change::RemoveVolume(name) => self.volume(name, states),
            Change::SetSecret(row) => self.content(&row.spec.name, states, |it| &it.secrets),
            Change::RemoveSecret(name) => self.content(name, states, |it| &it.secrets),
            Change::SetConfig(row) => self.content(&row.spec.name, states, |it| &it.configs),
            Change::RemoveConfig(name) => self.content(name, states, |it| &it.configs),
            Change::SetCluster(_) | Change::RemoveCluster | Change::RemoveNode(_) => {
                self.everyone = true;
            }
            Change::SteadySince(_) | Change::SetAddressCursor(..) => {}
        }
    }

    fn task(&mut self, id: &TaskId, states: [&State; 2]) {
        let rows = states.into_iter().filter_map(|state| state.tasks.get(id));
        rows.for_each(|row| self.row(row));
    }

    fn row(&mut self, task: &Task) {
        if !self.services.contains(&task.service) {
            self.services.insert(task.service.clone());
        }
        if self.tasks.last() != Some(&task.id) {
            self.tasks.push(task.id.clone());
        }
    }

    fn stack(&mut self, name: &str, states: [&State; 2]) {
        let services = states
            .into_iter()
            .flat_map(|state| state.stack_services(name));
        self.rows.extend(services.map(|service| service.id.clone()));
    }

    /// The others hear of a node's address and role, and of what is on it while it is up.
    fn node(&mut self, id: &NodeId, [before, after]: [&State; 2]) {
        let known = |state: &State| state.nodes.get(id).cloned();
        let (old, new) = (known(before), known(after));
        let said = |node: &Node| (node.role, node.address);
        let is_worker = new.as_ref().is_some_and(|node| node.role == Role::Worker);
        let joins = old.is_none() && is_worker && before.nodes.len() > 1;
        if !joins && old.as_deref().map(said) != new.as_deref().map(said) {
            self.everyone = true;
        }
        if old.map(|node| node.status) != new.map(|node| node.status) {
            let tasks = after.node_tasks(id);
            self.services.extend(tasks.map(|task| task.service.clone()));
        }
        self.nodes.insert(id.clone());
    }

    fn volume(&mut self, name: &str, states: [&State; 2]) {
        let rows = states
            .into_iter()
            .filter_map(|state| state.volumes.get(name));
        self.nodes.extend(rows.filter_map(|row| row.node.clone()));
        self.volumes = true;
    }

    fn content(
        &mut self,
        name: &str,
        states: [&State; 2],
        grants: impl Fn(&ContainerSpec) -> &Vec<FileGrant>,
    ) {
        for service in states.into_iter().flat_map(|state| state.services.values()) {
            let specs = service.versions.values().chain([&service.spec]);
            let mut granted = specs.flat_map(|spec| grants(&spec.container));
            if granted.any(|grant| grant.source == name) {
                self.rows.insert(service.id.clone());
            }
        }
    }
}
