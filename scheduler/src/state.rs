//! Everything that has been decided so far, and what one more batch of changes makes of it.
//!
//!     Command ─► decide ─► Batch ─► log ─► State::apply ─► State, one version later
//!
//! Tables share what has not changed between them ([`SharedMap`]), so that a copy of the state costs
//! nothing, a batch as much as it changes, and a reader is never in the way.
//! Applying is deterministic and never decides: a batch that was decided on another version of the
//! state is refused as a whole, and a terminal task is never changed again.

pub mod change;
pub mod draft;
pub(crate) mod load;
pub mod shared_map;

mod index;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::index::Index;
use self::load::Load;
use crate::control_plane::command::Reply;
use crate::model::cluster::Cluster;
use crate::model::id::{ContainerId, NetworkId, NodeId, ServiceId, TaskId};
use crate::model::network::Network;
use crate::model::node::Node;
use crate::model::service::Service;
use crate::model::stack::{StackRecord, StoredContent};
use crate::model::task::{Task, TaskState, TaskStatus};
use crate::model::time::Timestamp;
use crate::model::volume::Volume;

pub use change::{Batch, Change};
pub use draft::Draft;
pub use shared_map::SharedMap;

/// How many answers are remembered, so that a command that is sent again is not carried out again.
const ANSWERS: usize = 512;

/// Names one wish of one client: sent twice, it is carried out once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Arc<str>);

/// Rows by key.
pub type Table<K, V> = SharedMap<K, Arc<V>>;

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
    pub address_cursors: Arc<BTreeMap<NetworkId, IpAddr>>,
    pub volumes: Table<String, Volume>,
    pub secrets: Table<String, StoredContent>,
    pub configs: Table<String, StoredContent>,
    answers: Arc<VecDeque<(RequestId, Reply)>>,
    #[serde(skip)]
    index: Index,
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
        self.complete(batch);
        Ok(())
    }

    /// What is left to do when the changes of a batch have been applied.
    pub(crate) fn complete(&mut self, batch: &Batch) {
        self.remember(&batch.answers);
        self.version += 1;
        self.at = self.at.max(batch.at);
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
        let id = self.index.names(stack)?.get(name)?;
        self.services.get(id)
    }

    /// Services of a stack in the order of their keys, without containers made on their own.
    pub fn stack_services(&self, stack: &str) -> impl Iterator<Item = &Arc<Service>> {
        let ids = self.index.names(stack);
        ids.into_iter()
            .flat_map(SharedMap::values)
            .filter_map(|id| self.services.get(id))
    }

    /// Services that are not at rest: a decision may have something to do for them. The others have
    /// one container in each slot, of their version, wanted to run, on a node and not ended.
    pub fn restless_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        let ids = self.index.restless();
        ids.filter_map(|id| self.services.get(id))
    }

    /// See [`State::restless_services`].
    pub fn is_at_rest(&self, id: &ServiceId) -> bool {
        !self.index.is_restless(id)
    }

    /// Calls every service restless, to see that nothing was left out.
    #[cfg(debug_assertions)]
    pub(crate) fn disturb(&mut self) {
        self.index.disturb();
    }

    /// Services that ask for something of their nodes.
    pub fn constrained_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        let ids = self.index.constrained();
        ids.filter_map(|id| self.services.get(id))
    }

    /// Services that are on their way to a version, or were stopped on it.
    pub fn unfinished_services(&self) -> impl Iterator<Item = &Arc<Service>> {
        let ids = self.index.unfinished();
        ids.filter_map(|id| self.services.get(id))
    }

    /// Nodes that are down or drained, and those that are gone although tasks are still theirs.
    pub fn troubled_nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.index.troubled()
    }

    /// Tasks of a service, oldest first.
    pub fn service_tasks(&self, id: &ServiceId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.tasks_of(id).values()
    }

    /// The same as a table.
    pub fn tasks_of(&self, id: &ServiceId) -> &Table<TaskId, Task> {
        &self.index.service(id).tasks
    }

    /// Tasks of a node, oldest first.
    pub fn node_tasks(&self, id: &NodeId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let known = self.index.node(id);
        known.into_iter().flat_map(|known| known.tasks.values())
    }

    /// What is set aside on a node for its tasks.
    pub(crate) fn load(&self, id: &NodeId) -> Option<&Load> {
        self.index.node(id).map(|known| &known.load)
    }

    /// The runs of a container, oldest first.
    pub fn container_tasks(&self, id: &ContainerId) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        let runs = self.index.runs(id);
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
    pub fn slots(&self, id: &ServiceId) -> &Table<u32, Task> {
        &self.index.service(id).slots
    }

    /// Restores what is derived, after the state was read from a snapshot.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.index = Index::default();
        for node in self.nodes.values() {
            self.index.set_node(&node.id, Some(node));
        }
        let services = std::mem::take(&mut self.services);
        for service in services.values() {
            self.set_service(service);
        }
        let made = self.tasks_made;
        let mut tasks = std::mem::take(&mut self.tasks);
        let ids: Vec<TaskId> = tasks.keys().cloned().collect();
        for mut task in ids.iter().filter_map(|id| tasks.remove(id)) {
            self.share(&mut task);
            self.set_task(&task);
        }
        self.tasks_made = made;
        self
    }

    /// Rows that were read name their service and their node in words of their own: those of the
    /// tables are enough.
    pub(crate) fn share_words(&self, batch: &mut Batch) {
        for change in &mut batch.changes {
            if let Change::SetTask(row) = change {
                self.share(row);
            }
        }
    }

    fn share(&self, row: &mut Arc<Task>) {
        // Only what nobody else looks at yet.
        let Some(row) = Arc::get_mut(row) else {
            return;
        };
        if let Some(service) = self.services.get(&row.service) {
            row.service = service.id.clone();
        }
        if let Some(node) = row.node.as_ref().and_then(|node| self.nodes.get(node)) {
            row.node = Some(node.id.clone());
        }
        self.share_image(&row.service, &mut row.status);
        for place in &mut row.attachments {
            if let Some(network) = self.networks.get(&place.network) {
                place.network = network.id.clone();
            }
        }
    }

    /// The containers of a service have one image, but for the time of an update.
    fn share_image(&self, service: &ServiceId, status: &mut TaskStatus) {
        if status.image_id.is_none() {
            return;
        }
        let mut slots = self.index.service(service).slots.values();
        let others = [slots.next(), slots.next_back()].into_iter().flatten();
        let mut images = others.map(|other| &other.status.image_id);
        if let Some(same) = images.find(|image| **image == status.image_id) {
            status.image_id.clone_from(same);
        }
    }

    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::SteadySince(at) => self.steady_since = *at,
            Change::SetCluster(row) => self.cluster = Some(row.clone()),
            Change::RemoveCluster => self.cluster = None,
            Change::SetNode(row) => {
                set(&mut self.nodes, row.id.clone(), row);
                self.index.set_node(&row.id, Some(row));
            }
            Change::RemoveNode(id) => {
                self.nodes.remove(id);
                self.index.set_node(id, None);
                Arc::make_mut(&mut self.removed_nodes).insert(id.clone());
            }
            Change::SetStack(row) => set(&mut self.stacks, row.name.clone(), row),
            Change::RemoveStack(name) => drop(self.stacks.remove(name)),
            Change::SetService(row) => self.set_service(row),
            Change::RemoveService(id) => self.remove_service(id),
            Change::SetNetwork(row) => set(&mut self.networks, row.id.clone(), row),
            Change::RemoveNetwork(id) => {
                self.networks.remove(id);
                Arc::make_mut(&mut self.address_cursors).remove(id);
            }
            Change::SetAddressCursor(id, address) => {
                Arc::make_mut(&mut self.address_cursors).insert(id.clone(), *address);
            }
            Change::SetVolume(row) => set(&mut self.volumes, row.spec.name.clone(), row),
            Change::RemoveVolume(name) => drop(self.volumes.remove(name)),
            Change::SetSecret(row) => set(&mut self.secrets, row.spec.name.clone(), row),
            Change::RemoveSecret(name) => drop(self.secrets.remove(name)),
            Change::SetConfig(row) => set(&mut self.configs, row.spec.name.clone(), row),
            Change::RemoveConfig(name) => drop(self.configs.remove(name)),
            Change::SetTask(row) => self.set_task(row),
            Change::RemoveTask(id) => self.remove_task(id),
            Change::Observe(id, status) => {
                let mut status = (**status).clone();
                if let Some(row) = self.tasks.get(id) {
                    self.share_image(&row.service, &mut status);
                }
                self.update_task(id, |task| {
                    if !task.status.state.is_terminal() && status.state >= task.status.state {
                        task.status = status;
                    }
                });
            }
            Change::Desire(id, desired, stop) => self.update_task(id, |task| {
                task.desired = task.desired.max(*desired);
                if stop.is_some() {
                    task.stop = stop.clone().map(Box::new);
                }
            }),
            Change::ForgetContainer(id) => {
                let runs: Vec<TaskId> = self.index.runs(id).cloned().collect();
                for run in runs {
                    self.remove_task(&run);
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
        self.index.set_service(&service);
        set(&mut self.services, service.id.clone(), &service);
    }

    fn remove_service(&mut self, id: &ServiceId) {
        if let Some(service) = self.services.remove(id) {
            self.index.remove_service(&service);
        }
    }

    fn set_task(&mut self, row: &Arc<Task>) {
        let before = self.tasks.insert(row.id.clone(), row.clone());
        if before.is_none() {
            self.tasks_made += 1;
        }
        self.index.set_task(before.as_ref(), row, &self.nodes);
    }

    fn remove_task(&mut self, id: &TaskId) {
        if let Some(task) = self.tasks.remove(id) {
            self.index.remove_task(&task, &self.nodes);
        }
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
    table.insert(key, row.clone());
}

#[cfg(test)]
mod tests;
