//! A worker's state: rows made of what it was told and what it has seen.
//!
//! | row | made of |
//! |---|---|
//! | tasks | the assigned ones, with the statuses that the node last saw |
//! | services | the tasks of one key in one stack; only their last specification is known |
//! | stacks, networks, volumes | those that the tasks use |
//! | nodes | this one |
//!
//! Identifiers of services are made here, and mean nothing elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::assignment::{AssignedNetwork, AssignedTask, Assignment};
use scheduler::model::id::ServiceId;
use scheduler::model::network::{Attachment, Network, NetworkSpec};
use scheduler::model::node::Node;
use scheduler::model::rollout::Rollout;
use scheduler::model::service::{AnonymousVolumes, Service, ServiceMode, ServiceSpec};
use scheduler::model::stack::StackRecord;
use scheduler::model::task::{StopOrder, Task, TaskState, TaskStatus, WaitsFor};
use scheduler::model::time::Timestamp;
use scheduler::model::volume::Volume;
use scheduler::state;

use super::Statuses;

/// Makes one state after the other.
pub(super) struct State {
    node: Arc<Node>,
    /// Goes up with each state, so that watchers see that there is another.
    version: u64,
    last: Option<(Arc<Assignment>, Statuses)>,
}

impl State {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node: Arc::new(node),
            version: 0,
            last: None,
        }
    }

    pub(super) fn is_outdated(&self, told: &Arc<Assignment>, seen: &Statuses) -> bool {
        (self.last.as_ref())
            .is_none_or(|(last, statuses)| !Arc::ptr_eq(last, told) || !Arc::ptr_eq(statuses, seen))
    }

    pub(super) fn of(&mut self, told: &Arc<Assignment>, seen: &Statuses) -> state::State {
        self.last = Some((told.clone(), seen.clone()));
        self.version += 1;
        let mut state = view(&self.node, told, seen);
        state.version = self.version;
        state
    }
}

/// What a worker may show, as rows.
pub(super) fn view(node: &Arc<Node>, told: &Assignment, seen: &Statuses) -> state::State {
    let mut state = state::State::default();
    state.nodes.insert(node.id.clone(), node.clone());
    state.networks = table(told.networks.iter().map(|it| (it.id.clone(), network(it))));
    state.volumes = table(told.volumes.iter().map(|it| {
        let volume = Volume {
            spec: it.spec.clone(),
            stack: it.spec.labels.get(STACK_LABEL).cloned(),
            node: Some(node.id.clone()),
            removing: it.remove,
            created_at: Timestamp::EPOCH,
        };
        (it.spec.name.clone(), volume)
    }));
    let mut services: BTreeMap<ServiceId, Vec<&AssignedTask>> = BTreeMap::new();
    for task in &told.tasks {
        services.entry(service_id(task)).or_default().push(task);
    }
    let stacks: BTreeSet<&String> = told
        .tasks
        .iter()
        .filter_map(|it| it.stack.as_ref())
        .collect();
    state.stacks = table(stacks.into_iter().map(|name| (name.clone(), stack(name))));
    state.services = table(
        services
            .into_iter()
            .filter_map(|(id, tasks)| Some((id.clone(), service(id, &tasks)?))),
    );
    state.tasks = table(told.tasks.iter().map(|it| {
        let status = seen.get(&it.id).cloned();
        (it.id.clone(), task(it, node, status))
    }));
    state.indexed()
}

/// Compose's label on everything that belongs to a stack.
const STACK_LABEL: &str = "com.docker.compose.project";

fn table<K: Ord + Clone, V>(rows: impl IntoIterator<Item = (K, V)>) -> state::Table<K, V> {
    let rows = rows.into_iter().map(|(key, row)| (key, Arc::new(row)));
    rows.collect()
}

fn service_id(task: &AssignedTask) -> ServiceId {
    let stack = task.stack.as_deref().unwrap_or_default();
    ServiceId::new(format!("{stack}/{}", task.service))
}

fn stack(name: &str) -> StackRecord {
    StackRecord {
        name: name.to_owned(),
        working_dir: String::new(),
        config_files: Vec::new(),
        removal: None,
        logins: BTreeMap::new(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

/// As far as its tasks on this node tell.
fn service(id: ServiceId, tasks: &[&AssignedTask]) -> Option<Service> {
    let last = tasks.iter().max_by(|one, other| one.id.cmp(&other.id))?;
    let slots: BTreeSet<u32> = tasks.iter().map(|task| task.slot).collect();
    let spec = Arc::new(ServiceSpec {
        name: last.service.clone(),
        container: last.spec.clone(),
        mode: ServiceMode::Replicated {
            replicas: u32::try_from(slots.len()).unwrap_or(u32::MAX),
        },
        restart: last.restart.clone(),
        ..ServiceSpec::default()
    });
    let created_at = tasks.iter().map(|task| task.created_at).min()?;
    Some(Service {
        id,
        stack: last.stack.clone(),
        version: 1,
        versions: BTreeMap::from([(1, spec.clone())]),
        spec,
        halted: BTreeSet::new(),
        stop: StopOrder::default(),
        removal: None,
        rollout: Rollout::default(),
        anonymous_volumes: AnonymousVolumes::default(),
        virtual_addresses: BTreeMap::new(),
        virtual_addresses_ipv6: BTreeMap::new(),
        created_at,
        updated_at: last.created_at,
    })
}

fn task(assigned: &AssignedTask, node: &Node, status: Option<TaskStatus>) -> Task {
    let attachments = assigned.interfaces.iter().map(|interface| Attachment {
        network: interface.network.clone(),
        address: interface.address,
        ipv6: interface.ipv6.map(|it| it.address),
        mac: interface.mac.clone(),
    });
    let unseen = || TaskStatus::new(TaskState::Assigned, assigned.created_at, "assigned");
    Task {
        id: assigned.id.clone(),
        container: assigned.container.clone(),
        service: service_id(assigned),
        slot: assigned.slot,
        name: assigned.name.clone(),
        version: 1,
        node: Some(node.id.clone()),
        desired: assigned.desired,
        stop: assigned.stop.clone().map(Box::new),
        status: status.unwrap_or_else(unseen),
        attachments: attachments.collect(),
        waits_for: WaitsFor::Nothing,
        replaces: assigned.replaces.clone(),
        failures: assigned.failures,
        restarts: assigned.restarts,
        avoids: None,
        condemned: None,
        resources: assigned.resources.clone(),
        start_after: assigned.start_after,
        created_at: assigned.created_at,
    }
}

fn network(assigned: &AssignedNetwork) -> Network {
    Network {
        id: assigned.id.clone(),
        spec: NetworkSpec {
            name: assigned.name.clone(),
            internal: assigned.internal,
            enable_ipv6: assigned.ipv6.is_some() || assigned.subnet.addr().is_ipv6(),
            ipv6_only: assigned.subnet.addr().is_ipv6(),
            ..NetworkSpec::default()
        },
        stack: None,
        subnet: assigned.subnet,
        gateway: assigned.gateway,
        ipv6: assigned.ipv6,
        vni: assigned.overlay.as_ref().map_or(0, |overlay| overlay.vni),
        node_addresses: BTreeMap::new(),
        node_addresses_ipv6: BTreeMap::new(),
        removing: false,
        created_at: Timestamp::EPOCH,
    }
}

#[cfg(test)]
mod tests;
