//! Everything that has been decided so far, and what one more batch of changes makes of it.
//!
//!     Command ─► decide ─► Batch ─► log ─► State::apply ─► State, one version later
//!
//! Rows are shared and each table is copied only when it changes while somebody still looks at an
//! older state, so that a copy of the state costs nothing and a reader is never in the way.
//! Applying is deterministic and never decides: a batch that was decided on another version of the
//! state is refused as a whole, and a terminal task is never changed again.

pub mod change;
pub mod draft;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::control_plane::command::Reply;
use crate::model::cluster::Cluster;
use crate::model::id::{ContainerId, NetworkId, NodeId, ServiceId, TaskId};
use crate::model::network::Network;
use crate::model::node::Node;
use crate::model::service::Service;
use crate::model::stack::{StackRecord, StoredContent};
use crate::model::task::{Task, TaskState};
use crate::model::time::Timestamp;
use crate::model::volume::Volume;

pub use change::{Batch, Change};
pub use draft::Draft;

/// How many answers are remembered, so that a command that is sent again is not carried out again.
const ANSWERS: usize = 512;

/// Names one wish of one client: sent twice, it is carried out once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Arc<str>);

/// Rows by key. Copied on write, table by table.
pub type Table<K, V> = Arc<BTreeMap<K, Arc<V>>>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Goes up by one with each batch.
    pub version: u64,
    /// When the last batch was decided on.
    pub at: Timestamp,
    /// Since when all times were taken from one clock: before, another leader's counted, or it was
    /// set. What must not be judged by the difference of two clocks begins here at the earliest.
    pub steady_since: Timestamp,
    /// Number of tasks ever made; task ids begin with it, and so sort in the order of their making.
    pub tasks_made: u64,
    /// `None` on a host that stands alone.
    pub cluster: Option<Arc<Cluster>>,
    pub nodes: Table<NodeId, Node>,
    /// Nodes that were in the cluster once: their certificates may still be good, but they are
    /// not let in, and nobody else gets their ids.
    pub removed_nodes: Arc<BTreeSet<NodeId>>,
    pub stacks: Table<String, StackRecord>,
    pub services: Table<ServiceId, Service>,
    pub tasks: Table<TaskId, Task>,
    pub networks: Table<NetworkId, Network>,
    pub address_cursors: Arc<BTreeMap<NetworkId, Ipv4Addr>>,
    pub volumes: Table<String, Volume>,
    pub secrets: Table<String, StoredContent>,
    pub configs: Table<String, StoredContent>,
    answers: Arc<VecDeque<(RequestId, Reply)>>,
    #[serde(skip)]
    index: Arc<Index>,
}

/// Derived from the tables; never stored. What is asked for most is there with its rows, so that
/// nobody looks each of them up.
#[derive(Clone, Debug, Default, PartialEq)]
struct Index {
    by_service: BTreeMap<ServiceId, Table<TaskId, Task>>,
    by_node: BTreeMap<NodeId, Table<TaskId, Task>>,
    by_container: BTreeMap<ContainerId, BTreeSet<TaskId>>,
    /// Services that are not containers of their own, by stack and key.
    by_name: BTreeMap<String, BTreeMap<String, ServiceId>>,
}

/// Why a batch was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("batch was decided on version {base}, but the state is at {version}")]
pub struct StaleBatch {
    pub base: u64,
    pub version: u64,
}

impl State {
    /// Applies a batch as a whole.
    ///
    /// # Errors
    ///
    /// Returns [`StaleBatch`], and changes nothing, if the state has moved on since the decision.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), StaleBatch> {
        if batch.base != self.version {
            return Err(StaleBatch {
                base: batch.base,
                version: self.version,
            });
        }
        for change in &batch.changes {
            self.apply_change(change);
        }
        self.remember(&batch.answers);
        self.version += 1;
        self.at = self.at.max(batch.at);
        Ok(())
    }

    /// The answer that was given to a command before.
    pub fn answer(&self, request: &RequestId) -> Option<&Reply> {
        let found = self.answers.iter().rev().find(|(id, _)| id == request);
        found.map(|(_, reply)| reply)
    }

    pub fn service(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// The service with this key in the stack; not containers made on their own.
    pub fn service_named(&self, stack: &str, name: &str) -> Option<&Arc<Service>> {
        let id = self.index.by_name.get(stack)?.get(name)?;
        self.services.get(id)
    }

    /// Services of a stack in the order of their keys, without containers made on their own.
    pub fn stack_services(&self, stack: &str) -> impl Iterator<Item = &Arc<Service>> {
        let ids = self.index.by_name.get(stack);
        ids.into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(|id| self.services.get(id))
    }

    /// Tasks of a service, oldest first.
    pub fn service_tasks(&self, id: &ServiceId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let tasks = self.index.by_service.get(id);
        tasks.into_iter().flat_map(|tasks| tasks.values())
    }

    /// Tasks of a node, oldest first.
    pub fn node_tasks(&self, id: &NodeId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let tasks = self.index.by_node.get(id);
        tasks.into_iter().flat_map(|tasks| tasks.values())
    }

    /// The runs of a container, oldest first.
    pub fn container_tasks(&self, id: &ContainerId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let runs = self.index.by_container.get(id);
        let runs = runs.into_iter().flatten();
        runs.filter_map(|id| self.tasks.get(id))
    }

    /// The last run of a container.
    pub fn container(&self, id: &ContainerId) -> Option<&Arc<Task>> {
        self.container_tasks(id).next_back()
    }

    /// The service that a task runs.
    pub fn service_of(&self, task: &Task) -> Option<&Arc<Service>> {
        self.services.get(&task.service)
    }

    /// The network with this final name.
    pub fn network_named(&self, name: &str) -> Option<&Arc<Network>> {
        self.networks
            .values()
            .find(|network| network.spec.name == name)
    }

    /// The last task of each slot of a service, by slot. A slot whose containers are all being
    /// removed still shows its last one.
    pub fn slots(&self, id: &ServiceId) -> BTreeMap<u32, &Arc<Task>> {
        self.service_tasks(id)
            .map(|task| (task.slot, task))
            .collect()
    }

    /// Restores what is derived, after the state was read from a snapshot.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.index = Arc::default();
        let (services, tasks) = (self.services.clone(), self.tasks.clone());
        self.services = Arc::default();
        self.tasks = Arc::default();
        for service in services.values() {
            self.set_service(service);
        }
        let made = self.tasks_made;
        for task in tasks.values() {
            self.set_task(task);
        }
        self.tasks_made = made;
        self
    }

    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::SteadySince(at) => self.steady_since = *at,
            Change::SetCluster(row) => self.cluster = Some(row.clone()),
            Change::RemoveCluster => self.cluster = None,
            Change::SetNode(row) => set(&mut self.nodes, row.id.clone(), row),
            Change::RemoveNode(id) => {
                remove(&mut self.nodes, id);
                Arc::make_mut(&mut self.removed_nodes).insert(id.clone());
            }
            Change::SetStack(row) => set(&mut self.stacks, row.name.clone(), row),
            Change::RemoveStack(name) => remove(&mut self.stacks, name),
            Change::SetService(row) => self.set_service(row),
            Change::RemoveService(id) => self.remove_service(id),
            Change::SetNetwork(row) => set(&mut self.networks, row.id.clone(), row),
            Change::RemoveNetwork(id) => {
                remove(&mut self.networks, id);
                Arc::make_mut(&mut self.address_cursors).remove(id);
            }
            Change::SetAddressCursor(id, address) => {
                Arc::make_mut(&mut self.address_cursors).insert(id.clone(), *address);
            }
            Change::SetVolume(row) => set(&mut self.volumes, row.spec.name.clone(), row),
            Change::RemoveVolume(name) => remove(&mut self.volumes, name),
            Change::SetSecret(row) => set(&mut self.secrets, row.spec.name.clone(), row),
            Change::RemoveSecret(name) => remove(&mut self.secrets, name),
            Change::SetConfig(row) => set(&mut self.configs, row.spec.name.clone(), row),
            Change::RemoveConfig(name) => remove(&mut self.configs, name),
            Change::SetTask(row) => self.set_task(row),
            Change::RemoveTask(id) => self.remove_task(id),
            Change::Observe(id, status) => self.update_task(id, |task| {
                if !task.status.state.is_terminal() && status.state >= task.status.state {
                    task.status = (**status).clone();
                }
            }),
            Change::Desire(id, desired, stop) => self.update_task(id, |task| {
                task.desired = task.desired.max(*desired);
                if stop.is_some() {
                    task.stop.clone_from(stop);
                }
            }),
            Change::ForgetContainer(id) => {
                let runs = self.index.by_container.get(id).cloned().unwrap_or_default();
                for run in &runs {
                    self.remove_task(run);
                }
            }
        }
    }

    fn remember(&mut self, answers: &[(RequestId, Reply)]) {
        if answers.is_empty() {
            return;
        }
        let known = Arc::make_mut(&mut self.answers);
        known.extend(answers.iter().cloned());
        while known.len() > ANSWERS {
            known.pop_front();
        }
    }

    /// Shares the spec between the service and its table of versions: JSON has written it twice.
    fn set_service(&mut self, row: &Arc<Service>) {
        let mut service = row.clone();
        if let Some(version) = service.versions.get(&service.version)
            && !Arc::ptr_eq(version, &service.spec)
            && **version == *service.spec
        {
            let service = Arc::make_mut(&mut service);
            let spec = service.spec.clone();
            service.versions.insert(service.version, spec);
        }
        if let Some(stack) = &service.stack
            && !service.is_standalone()
        {
            let names = &mut Arc::make_mut(&mut self.index).by_name;
            names
                .entry(stack.clone())
                .or_default()
                .insert(service.spec.name.clone(), service.id.clone());
        }
        set(&mut self.services, service.id.clone(), &service);
    }

    fn remove_service(&mut self, id: &ServiceId) {
        let Some(service) = self.services.get(id).cloned() else {
            return;
        };
        remove(&mut self.services, id);
        let index = Arc::make_mut(&mut self.index);
        if let Some(stack) = &service.stack
            && let Some(names) = index.by_name.get_mut(stack)
        {
            if names.get(&service.spec.name) == Some(id) {
                names.remove(&service.spec.name);
            }
            if names.is_empty() {
                index.by_name.remove(stack);
            }
        }
    }

    fn set_task(&mut self, row: &Arc<Task>) {
        let id = &row.id;
        let before = Arc::make_mut(&mut self.tasks).insert(id.clone(), row.clone());
        let index = Arc::make_mut(&mut self.index);
        match &before {
            None => {
                self.tasks_made += 1;
                let runs = index.by_container.entry(row.container.clone());
                runs.or_default().insert(id.clone());
            }
            Some(before) if before.node != row.node => {
                if let Some(node) = &before.node {
                    leave(&mut index.by_node, node, id);
                }
            }
            Some(_) => {}
        }
        enter(&mut index.by_service, &row.service, row);
        if let Some(node) = &row.node {
            enter(&mut index.by_node, node, row);
        }
    }

    fn remove_task(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id).cloned() else {
            return;
        };
        let index = Arc::make_mut(&mut self.index);
        leave(&mut index.by_service, &task.service, id);
        if let Some(runs) = index.by_container.get_mut(&task.container) {
            runs.remove(id);
            if runs.is_empty() {
                index.by_container.remove(&task.container);
            }
        }
        if let Some(node) = &task.node {
            leave(&mut index.by_node, node, id);
        }
        remove(&mut self.tasks, id);
    }

    fn update_task(&mut self, id: &TaskId, update: impl FnOnce(&mut Task)) {
        if let Some(task) = self.tasks.get(id) {
            let mut task = (**task).clone();
            update(&mut task);
            self.set_task(&Arc::new(task));
        }
    }
}

/// Whether a node has, or may have, something of the container that this task runs.
pub fn is_on_node(task: &Task) -> bool {
    task.node.is_some() && task.status.state >= TaskState::Assigned
}

fn set<K: Ord + Clone, V>(table: &mut Table<K, V>, key: K, row: &Arc<V>) {
    Arc::make_mut(table).insert(key, row.clone());
}

fn remove<K, Q, V>(table: &mut Table<K, V>, key: &Q)
where
    K: Ord + Clone + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if table.contains_key(key) {
        Arc::make_mut(table).remove(key);
    }
}

fn enter<K: Ord + Clone>(index: &mut BTreeMap<K, Table<TaskId, Task>>, key: &K, row: &Arc<Task>) {
    match index.get_mut(key) {
        Some(tasks) => set(tasks, row.id.clone(), row),
        None => {
            let tasks = BTreeMap::from([(row.id.clone(), row.clone())]);
            index.insert(key.clone(), Arc::new(tasks));
        }
    }
}

fn leave<K: Ord>(index: &mut BTreeMap<K, Table<TaskId, Task>>, key: &K, id: &TaskId) {
    if let Some(tasks) = index.get_mut(key) {
        remove(tasks, id);
        if tasks.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
