//! From the state to what one node is told.
//!
//! Built anew whenever something has changed that the node is told of, and handed out only when it
//! differs. What a task needs is made once and kept for as long as neither the task nor its service
//! changes, so that a node with many containers costs little per change.

mod announcer;
mod labels;
mod names;
mod overlay;
mod shared;
mod touched;

pub use announcer::Announcer;
pub use touched::Touched;

pub(crate) use labels::COMPOSE_VERSION;
pub use labels::labels;
pub(crate) use overlay::{is_spread, way_in};
pub use shared::Shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;

use self::names::Meanings;
use super::{AssignedInterface, AssignedIpv6, AssignedNetwork, AssignedTask, Assignment};
use crate::model::cluster::Secret;
use crate::model::container::{ContainerSpec, FileGrant, NamespaceMode, NetworkMode, Sibling};
use crate::model::id::{ContainerId, NetworkId, NodeId};
use crate::model::image::registry_of;
use crate::model::network::Attachment;
use crate::model::service::{Service, ServiceSpec};
use crate::model::stack::StoredContent;
use crate::model::task::{DesiredState, Task, TaskState};
use crate::state::{State, Table, is_on_node};

/// Remembers what one node was told last.
#[derive(Debug, Default)]
pub struct Builder {
    last: Option<Arc<Assignment>>,
    /// In the order of their identifiers.
    tasks: Vec<Made>,
}

/// An assigned task, and the rows that it was made from.
#[derive(Debug)]
struct Made {
    row: Arc<Task>,
    service: Arc<Service>,
    spec: Arc<ServiceSpec>,
    task: Arc<AssignedTask>,
}

impl Builder {
    /// What the node must be told now; `None` if it has been told.
    pub fn update(
        &mut self,
        state: &State,
        shared: &Shared,
        node: &NodeId,
    ) -> Option<Arc<Assignment>> {
        let next = self.build(state, shared, node);
        if self.last.as_ref().is_some_and(|last| is_same(last, &next)) {
            return None;
        }
        let next = Arc::new(next);
        self.last = Some(next.clone());
        Some(next)
    }

    fn build(&mut self, state: &State, shared: &Shared, node: &NodeId) -> Assignment {
        let mut last_runs: IndexMap<&ContainerId, &Arc<Task>> = IndexMap::new();
        for task in state.node_tasks(node).filter(|task| is_on_node(task)) {
            last_runs.insert(&task.container, task);
        }
        let mut rows: Vec<&Arc<Task>> = last_runs.into_values().collect();
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        self.make(state, &rows);
        let tasks = self.tasks.iter().map(|made| made.task.clone()).collect();
        let used = rows.iter().flat_map(|task| &task.attachments);
        let mut used: BTreeSet<&NetworkId> = used.map(|attachment| &attachment.network).collect();
        let published = overlay::published(shared.entrances.values(), node);
        if shared.is_spread {
            used.extend(published.iter().map(|port| &port.network));
        }
        let live = self.tasks.iter();
        let live = live.filter(|made| !made.row.status.state.is_terminal());
        let specs: Vec<_> = live.map(|made| &made.spec).collect();
        Assignment {
            epoch: state.cluster.as_ref().map_or(0, |cluster| cluster.epoch),
            generation: state.version,
            managers: shared.managers.clone(),
            authorities: shared.authorities.clone(),
            role: state.nodes.get(node).map(|row| row.role),
            tasks,
            networks: networks(state, shared, node, &used),
            published: published.clone(),
            volumes: shared.volumes.get(node).cloned().unwrap_or_default(),
            secrets: contents(&state.secrets, &specs, |spec| &spec.secrets),
            configs: contents(&state.configs, &specs, |spec| &spec.configs),
            logins: logins(state, &rows),
        }
    }

    /// Whether something of it depends on containers elsewhere.
    fn joins(&self) -> bool {
        self.tasks.iter().any(|made| !made.task.joins.is_empty())
    }

    /// Makes anew what is not current.
    fn make(&mut self, state: &State, rows: &[&Arc<Task>]) {
        let mut before = std::mem::take(&mut self.tasks).into_iter().peekable();
        for row in rows {
            let is_gone = |made: &Made| made.task.id != row.id && made.task.id < row.id;
            while before.next_if(is_gone).is_some() {}
            let known = before.next_if(|made| made.task.id == row.id);
            self.tasks.extend(made(state, row, known));
        }
    }
}

fn made(state: &State, row: &Arc<Task>, known: Option<Made>) -> Option<Made> {
    let service = state.service_of(row)?;
    let is_known = |made: &Made| {
        Arc::ptr_eq(&made.service, service)
            && is_current(&made.task, row)
            && made.task.joins.is_empty()
    };
    if let Some(made) = known.filter(is_known) {
        let row = row.clone();
        return Some(Made { row, ..made });
    }
    let spec = spec_of(state, row)?;
    Some(Made {
        row: row.clone(),
        service: service.clone(),
        spec: spec.clone(),
        task: Arc::new(assigned(state, service, spec, row)),
    })
}

/// Everything else that an assigned task shows never changes in a task's life.
fn is_current(made: &AssignedTask, task: &Task) -> bool {
    made.desired == task.desired
        && made.stop == task.stop
        && made.name == task.name
        && made.restarts == task.restarts
}

/// Equal but for the generation.
fn is_same(one: &Assignment, other: &Assignment) -> bool {
    let same_tasks = one.tasks.len() == other.tasks.len()
        && one
            .tasks
            .iter()
            .zip(&other.tasks)
            .all(|(one, other)| Arc::ptr_eq(one, other) || one == other);
    same_tasks
        && one.epoch == other.epoch
        && one.managers == other.managers
        && one.authorities == other.authorities
        && one.role == other.role
        && one.networks == other.networks
        && one.published == other.published
        && one.volumes == other.volumes
        && one.secrets == other.secrets
        && one.configs == other.configs
        && one.logins == other.logins
}

/// The spec of the version that a task runs.
pub fn spec_of<'a>(state: &'a State, task: &Task) -> Option<&'a Arc<ServiceSpec>> {
    let service = state.service_of(task)?;
    Some(service.versions.get(&task.version).unwrap_or(&service.spec))
}

fn assigned(state: &State, service: &Service, spec: &ServiceSpec, task: &Task) -> AssignedTask {
    AssignedTask {
        id: task.id.clone(),
        container: task.container.clone(),
        name: task.name.clone(),
        service: spec.name.clone(),
        stack: service.stack.clone(),
        slot: task.slot,
        spec: with_resources(&spec.container, task),
        desired: task.desired,
        stop: task.stop.clone(),
        shares_ports: overlay::shares_ports(state, service),
        resources: task.resources.clone(),
        interfaces: interfaces(state, &spec.container, &task.attachments),
        joins: companions(state, service, &spec.container, task),
        replaces: task.replaces.clone(),
        restart: spec.restart.clone(),
        restarts: task.restarts,
        failures: task.failures,
        start_after: task.start_after,
        created_at: task.created_at,
    }
}

/// What was granted is said in the container's environment.
fn with_resources(spec: &Arc<ContainerSpec>, task: &Task) -> Arc<ContainerSpec> {
    if task.resources.is_empty() {
        return spec.clone();
    }
    let mut spec = (**spec).clone();
    spec.environment.extend(task.granted());
    Arc::new(spec)
}

/// In falling order of priority; the default route through the one that asks for it most.
fn interfaces(
    state: &State,
    spec: &ContainerSpec,
    attachments: &[Attachment],
) -> Vec<AssignedInterface> {
    let NetworkMode::Attached(wishes) = &spec.network else {
        return Vec::new();
    };
    let mut found: Vec<_> = attachments
        .iter()
        .filter_map(|place| {
            let network = state.networks.get(&place.network)?;
            let wish = wishes
                .iter()
                .find(|wish| wish.network == network.spec.name)?;
            Some((place, network, wish))
        })
        .collect();
    found.sort_by_key(|(_, _, wish)| std::cmp::Reverse(wish.priority));
    // The first of those with the highest value.
    let gateway = found
        .iter()
        .filter(|(_, network, _)| !network.spec.internal)
        .rev()
        .max_by_key(|(_, _, wish)| wish.gateway_priority)
        .map(|(place, ..)| place.network.clone());
    let mut interfaces = Vec::with_capacity(found.len());
    for (place, network, wish) in found {
        let name = wish.interface_name.clone();
        let leads_out = gateway.as_ref() == Some(&place.network);
        interfaces.push(AssignedInterface {
            network: place.network.clone(),
            name: name.unwrap_or_else(|| format!("eth{}", interfaces.len())),
            address: place.address,
            prefix_len: network.subnet.prefix_len(),
            mac: place.mac.clone(),
            default_gateway: leads_out.then_some(network.gateway),
            ipv6: place
                .ipv6
                .zip(network.ipv6)
                .map(|(address, of)| AssignedIpv6 {
                    address,
                    prefix_len: of.subnet.prefix_len(),
                    default_gateway: leads_out.then_some(of.gateway),
                }),
            link_local: wish.link_local_ips.clone(),
        });
    }
    interfaces
}

/// The containers whose namespaces or volumes it shares, by kind.
pub(crate) fn companions(
    state: &State,
    service: &Service,
    spec: &ContainerSpec,
    task: &Task,
) -> BTreeMap<String, ContainerId> {
    let mut joins = BTreeMap::new();
    let mut join = |kind: &str, found: Option<ContainerId>| {
        joins.extend(found.map(|container| (kind.to_owned(), container)));
    };
    match &spec.network {
        NetworkMode::Service(name) => join("network", sibling(state, service, name, task)),
        NetworkMode::Container(name) => join("network", container_named(state, name)),
        NetworkMode::Attached(_) | NetworkMode::Host | NetworkMode::None => {}
    }
    for (kind, mode) in [("pid", &spec.pid), ("ipc", &spec.ipc)] {
        match mode {
            NamespaceMode::Service(name) => join(kind, sibling(state, service, name, task)),
            NamespaceMode::Container(name) => join(kind, container_named(state, name)),
            NamespaceMode::Private | NamespaceMode::Host | NamespaceMode::Shareable => {}
        }
    }
    for from in &spec.volumes_from {
        let found = match &from.container {
            Sibling::Service(name) => sibling(state, service, name, task),
            Sibling::Container(name) => container_named(state, name),
        };
        join(&from.key(), found);
    }
    joins
}

/// The container of another service of the stack: in the same slot, or else the first. One of a
/// service with a container on each node has the one on its own node.
fn sibling(state: &State, service: &Service, name: &str, task: &Task) -> Option<ContainerId> {
    let other = state.service_named(service.stack.as_deref()?, name)?;
    let slots = state.slots(&other.id);
    let beside = || slots.values().find(|it| it.node == task.node);
    let found = match service.is_on_each_node() {
        true => beside(),
        false => None,
    };
    let found = found.or_else(|| slots.get(&task.slot));
    Some(found.or_else(|| slots.values().next())?.container.clone())
}

/// By name, or by an identifier or its beginning.
fn container_named(state: &State, name: &str) -> Option<ContainerId> {
    let mut tasks = state.tasks.values().rev();
    let task = tasks.find(|task| {
        task.name == name || name.len() >= 12 && task.container.as_str().starts_with(name)
    })?;
    Some(task.container.clone())
}

fn networks(
    state: &State,
    shared: &Shared,
    node: &NodeId,
    used: &BTreeSet<&NetworkId>,
) -> Vec<AssignedNetwork> {
    let known = used.iter().filter_map(|id| state.networks.get(*id));
    let assigned = known.map(|network| {
        let option = |name: &str| network.spec.driver_opts.get(name).map(String::as_str);
        let known = shared.networks.get(&network.id);
        let meanings = known.map_or_else(Meanings::default, |it| it.meanings.clone());
        let endpoints = known.map_or(&[][..], |it| &it.endpoints);
        let overlay = overlay::overlay(state, node, network, endpoints);
        AssignedNetwork {
            id: network.id.clone(),
            name: network.spec.name.clone(),
            subnet: network.subnet,
            gateway: network.gateway,
            ipv6: network.ipv6,
            internal: network.spec.internal,
            mtu: option("com.docker.network.driver.mtu").and_then(|mtu| mtu.parse().ok()),
            bridge_name: option("com.docker.network.bridge.name").map(str::to_owned),
            inter_container: option("com.docker.network.bridge.enable_icc") != Some("false"),
            masquerade: option("com.docker.network.bridge.enable_ip_masquerade") != Some("false"),
            names: meanings.names,
            virtual_addresses: meanings.virtual_addresses,
            overlay: overlay.filter(|_| shared.is_spread),
        }
    });
    assigned.collect()
}

/// The contents of what the specs are granted, and of nothing else.
fn contents(
    table: &Table<String, StoredContent>,
    specs: &[&Arc<ServiceSpec>],
    grants: impl Fn(&ContainerSpec) -> &Vec<FileGrant>,
) -> BTreeMap<String, Vec<u8>> {
    let granted = specs.iter().flat_map(|spec| grants(&spec.container));
    granted
        .filter_map(|grant| {
            let content = table.get(&grant.source)?.spec.content.clone()?;
            Some((grant.source.clone(), content))
        })
        .collect()
}

/// The logins of those containers that may have an image to pull, and of no other.
fn logins(state: &State, rows: &[&Arc<Task>]) -> BTreeMap<ContainerId, Secret> {
    let unprepared = rows.iter().filter(|task| {
        task.status.state < TaskState::Ready && task.desired <= DesiredState::Running
    });
    let login = |task: &&Arc<Task>| {
        let stack = state.service_of(task)?.stack.as_ref()?;
        let logins = &state.stacks.get(stack)?.logins;
        let registry = registry_of(&spec_of(state, task)?.container.image);
        Some((task.container.clone(), logins.get(registry)?.clone()))
    };
    unprepared.filter_map(login).collect()
}

#[cfg(test)]
mod tests;
