//! From the state to what one node is told.
//!
//!     changes ─► [`Touched`] ─► [`Announcer`] ─► who has something new to hear
//!                                   └─► [`Announced`] ─► what it is, when it is asked for
//!
//! Nobody keeps what nodes are told: it is put together out of the state when it is sent. So a node
//! with a thousand containers costs nothing while nothing changes, and as much as has changed when
//! something does.

mod announcer;
mod compare;
mod labels;
mod names;
mod overlay;
mod shared;
mod touched;

pub use announcer::{Announced, Announcer};
pub use touched::Touched;

pub(crate) use labels::COMPOSE_VERSION;
pub use labels::labels;
pub(crate) use overlay::{is_spread, way_in};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;

use self::shared::Shared;
use super::{AssignedInterface, AssignedIpv6, AssignedNetwork, AssignedTask, Assignment};
use crate::model::cluster::Secret;
use crate::model::container::{ContainerSpec, FileGrant, NamespaceMode, NetworkMode, Sibling};
use crate::model::id::{ContainerId, NetworkId, NodeId};
use crate::model::image::registry_of;
use crate::model::network::{Attachment, Network};
use crate::model::service::{Service, ServiceSpec};
use crate::model::stack::StoredContent;
use crate::model::task::{DesiredState, Task, TaskState};
use crate::state::{State, Table, is_on_node};

/// Everything that nodes are told of, as it is at one time. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    state: State,
    shared: Shared,
}

impl Source {
    /// Reads everything anew.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn read(state: &State) -> Self {
        let (_, shared) = shared::Parts::read(state);
        let state = state.clone();
        Self { state, shared }
    }

    /// The whole wanted set of a node, as it is since this generation.
    pub(crate) fn assignment(&self, node: &NodeId, generation: u64) -> Assignment {
        let (state, shared) = (&self.state, &self.shared);
        let rows = self.runs(node);
        let used = rows.iter().flat_map(|task| &task.attachments);
        let mut used: BTreeSet<&NetworkId> = used.map(|attachment| &attachment.network).collect();
        let published = self.published(node);
        if shared.is_spread {
            used.extend(published.iter().map(|port| &port.network));
        }
        let live = rows.iter().filter(|row| !row.status.state.is_terminal());
        let specs: Vec<_> = live.filter_map(|row| spec_of(state, row)).collect();
        let logins = rows.iter().filter_map(|row| login(state, row));
        Assignment {
            epoch: epoch(state),
            generation,
            managers: shared.managers.to_vec(),
            authorities: shared.authorities.to_vec(),
            role: state.nodes.get(node).map(|row| row.role),
            tasks: rows.iter().filter_map(|row| self.assigned(row)).collect(),
            networks: used
                .iter()
                .filter_map(|id| self.network(node, id))
                .collect(),
            volumes: shared.volumes.get(node).cloned().unwrap_or_default(),
            secrets: contents(&state.secrets, &specs, |spec| &spec.secrets),
            configs: contents(&state.configs, &specs, |spec| &spec.configs),
            logins: logins.collect(),
            published,
        }
    }

    /// The last runs of the containers that a node has or may have, in the order of their identifiers.
    fn runs(&self, node: &NodeId) -> Vec<&Arc<Task>> {
        let mut last: IndexMap<&ContainerId, &Arc<Task>> = IndexMap::new();
        for task in self.state.node_tasks(node).filter(|task| is_on_node(task)) {
            last.insert(&task.container, task);
        }
        let mut rows: Vec<&Arc<Task>> = last.into_values().collect();
        rows.retain(|row| self.state.service_of(row).is_some());
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        rows
    }

    fn assigned(&self, row: &Task) -> Option<Arc<AssignedTask>> {
        let service = self.state.service_of(row)?;
        let spec = spec_of(&self.state, row)?;
        Some(Arc::new(assigned(&self.state, service, spec, row)))
    }

    fn network(&self, node: &NodeId, id: &NetworkId) -> Option<AssignedNetwork> {
        let mut network = self.outline(node, self.state.networks.get(id)?);
        if let Some(known) = self.shared.networks.get(id) {
            network.names = known.meanings.names.clone();
            network.virtual_addresses = known.meanings.virtual_addresses.clone();
        }
        Some(network)
    }

    /// A network as it looks from a node, without what names mean on it: they mean the same on all.
    fn outline(&self, node: &NodeId, network: &Network) -> AssignedNetwork {
        let option = |name: &str| network.spec.driver_opts.get(name).map(String::as_str);
        let known = self.shared.networks.get(&network.id);
        let endpoints = known.map_or(&[][..], |it| &it.endpoints);
        let overlay = overlay::overlay(&self.state, node, network, endpoints);
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
            names: BTreeMap::new(),
            virtual_addresses: Vec::new(),
            overlay: overlay.filter(|_| self.shared.is_spread),
        }
    }

    /// The ports that a node answers on for services.
    fn published(&self, node: &NodeId) -> Vec<super::SharedPort> {
        let entrances = self.shared.entrances.values();
        overlay::published(entrances.map(|it| &**it), node)
    }
}

fn epoch(state: &State) -> u64 {
    state.cluster.as_ref().map_or(0, |cluster| cluster.epoch)
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
        stop: task.stop.as_deref().cloned(),
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

/// The login for the image of a container that may have it to pull, and of no other.
fn login(state: &State, task: &Task) -> Option<(ContainerId, Secret)> {
    let is_unprepared =
        task.status.state < TaskState::Ready && task.desired <= DesiredState::Running;
    if !is_unprepared {
        return None;
    }
    let stack = state.service_of(task)?.stack.as_ref()?;
    let logins = &state.stacks.get(stack)?.logins;
    let registry = registry_of(&spec_of(state, task)?.container.image);
    Some((task.container.clone(), logins.get(registry)?.clone()))
}

#[cfg(test)]
mod tests;
