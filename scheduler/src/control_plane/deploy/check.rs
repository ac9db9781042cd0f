//! What is refused before anything starts: a stack that cannot come up as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::control_plane::refusal::Refusal;
use crate::control_plane::resource;
use crate::dependency::DependencyGraph;
use crate::model::container::{ContainerSpec, NetworkMode, PublishedPort};
use crate::model::service::{Service, ServiceSpec};
use crate::model::stack::Stack;
use crate::reconcile::slot;
use crate::state::State;

pub(super) fn check(
    state: &State,
    stack: &Stack,
    selected: &BTreeSet<String>,
) -> Result<(), Refusal> {
    cycles(state, stack, selected)?;
    external(state, stack, selected)?;
    names(state, stack, selected)?;
    ports(state, stack, selected)
}

/// Final names of what the selected services use.
pub(super) struct Used {
    pub(super) networks: BTreeSet<String>,
    pub(super) volumes: BTreeSet<String>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
}

impl Used {
    pub(super) fn by(stack: &Stack, selected: &BTreeSet<String>) -> Self {
        let mut used = Self {
            networks: BTreeSet::new(),
            volumes: BTreeSet::new(),
            secrets: BTreeSet::new(),
            configs: BTreeSet::new(),
        };
        for spec in services(stack, selected) {
            let container = &spec.container;
            used.networks.extend(networks(container));
            used.volumes
                .extend(slot::volumes(container).map(str::to_owned));
            used.secrets
                .extend(container.secrets.iter().map(|it| it.source.clone()));
            used.configs
                .extend(container.configs.iter().map(|it| it.source.clone()));
        }
        used
    }
}

fn services<'a>(
    stack: &'a Stack,
    selected: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a ServiceSpec> {
    let chosen = |(name, spec): (&String, &'a ServiceSpec)| selected.contains(name).then_some(spec);
    stack.services.iter().filter_map(chosen)
}

fn networks(container: &ContainerSpec) -> Vec<String> {
    match &container.network {
        NetworkMode::Attached(list) => list.iter().map(|it| it.network.clone()).collect(),
        NetworkMode::Host
        | NetworkMode::None
        | NetworkMode::Container(_)
        | NetworkMode::Service(_) => Vec::new(),
    }
}

/// With the services that stay as they were: a part of a file must not close a circle.
fn cycles(state: &State, stack: &Stack, selected: &BTreeSet<String>) -> Result<(), Refusal> {
    let kept = state
        .stack_services(&stack.name)
        .map(|service| &*service.spec)
        .filter(|spec| !selected.contains(&spec.name));
    let graph = DependencyGraph::new(services(stack, selected).chain(kept));
    graph.order_up().map(drop).map_err(Refusal::Cycle)
}

fn external(state: &State, stack: &Stack, selected: &BTreeSet<String>) -> Result<(), Refusal> {
    let used = Used::by(stack, selected);
    for spec in stack.networks.values().filter(|spec| spec.external) {
        if used.networks.contains(&spec.name) && state.network_named(&spec.name).is_none() {
            let network = spec.name.clone();
            return Err(Refusal::MissingNetwork { network });
        }
    }
    for spec in stack.volumes.values().filter(|spec| spec.external) {
        if used.volumes.contains(&spec.name) && !state.volumes.contains_key(&spec.name) {
            let volume = spec.name.clone();
            return Err(Refusal::MissingVolume { volume });
        }
    }
    for (kind, specs, used, known) in [
        (
            resource::SECRET,
            &stack.secrets,
            &used.secrets,
            &state.secrets,
        ),
        (
            resource::CONFIG,
            &stack.configs,
            &used.configs,
            &state.configs,
        ),
    ] {
        for spec in specs.values().filter(|spec| spec.external) {
            if used.contains(&spec.name) && !known.contains_key(&spec.name) {
                return Err(Refusal::MissingContent {
                    kind: kind.word().into(),
                    name: spec.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Fixed container names: each once in the file, and not that of somebody else's container.
fn names(state: &State, stack: &Stack, selected: &BTreeSet<String>) -> Result<(), Refusal> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for spec in services(stack, selected) {
        let Some(name) = &spec.container_name else {
            continue;
        };
        if let Some(other) = seen.insert(name, &spec.name) {
            return Err(Refusal::NameTaken {
                name: name.clone(),
                holder: format!("service `{other}`"),
            });
        }
        if let Some(holder) = resource::name_holder(state, name) {
            let own = holder.stack.as_deref() == Some(stack.name.as_str())
                && holder.spec.name == spec.name;
            if !own {
                return Err(Refusal::NameTaken {
                    name: name.clone(),
                    holder: resource::describe(holder),
                });
            }
        }
    }
    Ok(())
}

/// Fixed host ports: not those of another service of the file, nor of anything that runs.
fn ports(state: &State, stack: &Stack, selected: &BTreeSet<String>) -> Result<(), Refusal> {
    let mut wanted: Vec<(&PublishedPort, &str)> = Vec::new();
    for spec in services(stack, selected) {
        let me = format!("service `{}`", spec.name);
        for port in &spec.container.ports {
            for (other, holder) in &wanted {
                if *holder != spec.name && collide(port, other) {
                    return Err(taken(port, format!("service `{holder}`"), me));
                }
            }
        }
        let own = |service: &Service| {
            // The file's services come into the place of their namesakes.
            service.stack.as_deref() == Some(stack.name.as_str())
                && !service.is_standalone()
                && selected.contains(&service.spec.name)
        };
        port_holders(state, &spec.container.ports, own).map_or(Ok(()), |(port, holder)| {
            Err(taken(&port, resource::describe(holder), me))
        })?;
        wanted.extend(
            spec.container
                .ports
                .iter()
                .map(|port| (port, spec.name.as_str())),
        );
    }
    Ok(())
}

fn taken(port: &PublishedPort, holder: String, wanted_by: String) -> Refusal {
    Refusal::PortTaken {
        port: port.published.map_or(0, |(first, _)| first),
        protocol: port.protocol.as_str().into(),
        holder,
        wanted_by,
    }
}

/// Refuses ports of a container that is to be started while another one that runs has them.
pub(in crate::control_plane) fn ports_are_free(state: &State, me: &Service) -> Result<(), Refusal> {
    let own = |service: &Service| service.id == me.id;
    match port_holders(state, &me.spec.container.ports, own) {
        None => Ok(()),
        Some((port, holder)) => {
            let holder = resource::describe(holder);
            Err(taken(&port, holder, resource::describe(me)))
        }
    }
}

fn port_holders<'a>(
    state: &'a State,
    ports: &[PublishedPort],
    own: impl Fn(&Service) -> bool,
) -> Option<(PublishedPort, &'a Service)> {
    if ports.is_empty() {
        return None;
    }
    let others = state.services.values().filter(|service| {
        !own(service) && service.removal.is_none() && !slot::active(state, service).is_empty()
    });
    for service in others {
        for other in &service.spec.container.ports {
            if let Some(port) = ports.iter().find(|port| collide(port, other)) {
                // What has ended for good holds nothing.
                let mut tasks = state.service_tasks(&service.id).peekable();
                if tasks.peek().is_none() || tasks.any(|task| !task.status.state.is_terminal()) {
                    return Some((port.clone(), service));
                }
            }
        }
    }
    None
}

/// Ranges leave a choice, so that only single ports collide.
fn collide(one: &PublishedPort, other: &PublishedPort) -> bool {
    let single = |port: &PublishedPort| port.published.filter(|(first, last)| first == last);
    let (Some(first), Some(second)) = (single(one), single(other)) else {
        return false;
    };
    let everywhere = |ip: &Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
    first == second
        && one.protocol == other.protocol
        && (everywhere(&one.host_ip) || everywhere(&other.host_ip) || one.host_ip == other.host_ip)
}
