//! What the last decision has looked at without finding anything to do, so that the next one need
//! not look again: rows and tables that are the same in memory are the same.
//!
//! Nothing is decided by it. Whoever has lost it takes longer, and decides the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::id::{NodeId, ServiceId, TaskId};
use crate::model::node::Node;
use crate::model::service::Service;
use crate::model::task::Task;
use crate::model::time::Timestamp;
use crate::model::volume::Volume;
use crate::state::{State, Table};

#[derive(Debug, Default)]
pub struct Memory {
    surroundings: Surroundings,
    /// Services of which all containers suit their nodes.
    suited: BTreeMap<ServiceId, Seen>,
    /// Services on which the verdict is open, and the first time that may change that.
    open: BTreeMap<ServiceId, (Seen, Timestamp)>,
    /// The clock at the last look: what was found holds as long as it goes on.
    now: Timestamp,
}

/// A service as it was looked at.
#[derive(Debug)]
struct Seen {
    row: Arc<Service>,
    tasks: Table<TaskId, Task>,
}

/// What all services are looked at by.
#[derive(Debug, Default)]
struct Surroundings {
    nodes: Table<NodeId, Node>,
    volumes: Table<String, Volume>,
    steady_since: Timestamp,
}

impl Memory {
    /// Forgets what other surroundings have made doubtful.
    pub(super) fn look_around(&mut self, state: &State, now: Timestamp) {
        let known = &self.surroundings;
        let same = known.nodes.is_same(&state.nodes)
            && known.volumes.is_same(&state.volumes)
            && known.steady_since == state.steady_since
            && self.now <= now;
        if !same {
            *self = Self::default();
            self.surroundings = Surroundings {
                nodes: state.nodes.clone(),
                volumes: state.volumes.clone(),
                steady_since: state.steady_since,
            };
        }
        self.now = now;
    }

    pub(super) fn suits(&self, state: &State, service: &Arc<Service>) -> bool {
        let seen = self.suited.get(&service.id);
        seen.is_some_and(|seen| seen.is(state, service))
    }

    pub(super) fn set_suited(&mut self, state: &State, service: &Arc<Service>) {
        let seen = Seen::of(state, service);
        self.suited.insert(service.id.clone(), seen);
    }

    /// Whether the verdict on a service at rest is still open, and until when.
    pub(super) fn open(
        &self,
        state: &State,
        service: &Arc<Service>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (seen, until) = self.open.get(&service.id)?;
        (seen.is(state, service) && *until > now).then_some(*until)
    }

    pub(super) fn set_open(&mut self, state: &State, service: &Arc<Service>, until: Timestamp) {
        let seen = (Seen::of(state, service), until);
        self.open.insert(service.id.clone(), seen);
    }

    /// Services that are gone are not remembered.
    pub(super) fn tidy(&mut self, state: &State) {
        let is_left = |id: &ServiceId| state.services.contains_key(id);
        if self.suited.len() + self.open.len() > 2 * state.services.len() {
            self.suited.retain(|id, _| is_left(id));
            self.open.retain(|id, _| is_left(id));
        }
    }
}

impl Seen {
    fn of(state: &State, service: &Arc<Service>) -> Self {
        Self {
            row: service.clone(),
            tasks: state.tasks_of(&service.id).clone(),
        }
    }

    fn is(&self, state: &State, service: &Arc<Service>) -> bool {
        Arc::ptr_eq(&self.row, service) && self.tasks.is_same(state.tasks_of(&service.id))
    }
}
