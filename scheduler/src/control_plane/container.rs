//! Single containers: `docker create`, `start`, `stop`, `restart`, `rm`, `rename`.
//!
//! A container made on its own is a service of one. The others act on containers of stacks too: a
//! slot whose container was stopped or removed by hand stays so until a person asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::command::{Reply, RunningContainers, Volumes};
use super::deploy::ports_are_free;
use super::refusal::Refusal;
use super::{resource, services};
use crate::model::container::NetworkMode;
use crate::model::id::{ContainerId, NodeId};
use crate::model::network::Network;
use crate::model::rollout::Rollout;
use crate::model::service::{AnonymousVolumes, Service, ServiceMode, ServiceSpec};
use crate::model::task::{DesiredState, StopOrder, Task, WaitsFor};
use crate::model::volume::VolumeSpec;
use crate::reconcile::slot::{self, Cause};
use crate::state::{Change, Draft, State};

/// The only slot of a container made on its own.
const SLOT: u32 = 1;
/// Made-up names are tried this often; then the container's id is its name.
const NAMES_TRIED: usize = 8;

pub(super) fn create(
    draft: &mut Draft<'_>,
    name: Option<String>,
    stack: Option<String>,
    mut spec: ServiceSpec,
    node: Option<NodeId>,
) -> Result<Reply, Refusal> {
    if let Some(node) = node
        .as_ref()
        .filter(|node| !draft.state().nodes.contains_key(node))
    {
        let node = node.to_string();
        return Err(Refusal::UnknownNode { node });
    }
    let name = choose_name(draft, name)?;
    if !matches!(spec.mode, ServiceMode::Standalone { .. }) {
        spec.mode = ServiceMode::Standalone { auto_remove: false };
    }
    if stack.is_none() || spec.name.is_empty() {
        spec.name.clone_from(&name);
    }
    spec.container_name = Some(name.clone());
    resolve_networks(draft.state(), &mut spec)?;
    bring_volumes(draft, &spec)?;

    let spec = Arc::new(spec);
    let service = Service {
        id: draft.service_id(),
        stack,
        spec: spec.clone(),
        version: 1,
        versions: BTreeMap::from([(1, spec)]),
        halted: BTreeSet::from([SLOT]),
        stop: StopOrder::default(),
        removal: None,
        rollout: Rollout::default(),
        anonymous_volumes: AnonymousVolumes::TakeOver,
        virtual_addresses: BTreeMap::new(),
        virtual_addresses_ipv6: BTreeMap::new(),
        created_at: draft.now,
        updated_at: draft.now,
    };
    draft.push(Change::SetService(Arc::new(service.clone())));
    let mut task = slot::make(draft, &service, SLOT, DesiredState::Ready, None, None);
    let id = task.container.clone();
    if node.is_some() {
        task.node = node;
        draft.set_task(task);
    }
    Ok(Reply::ContainerCreated { id, name })
}

fn choose_name(draft: &mut Draft<'_>, name: Option<String>) -> Result<String, Refusal> {
    if let Some(name) = name {
        free_name(draft.state(), &name)?;
        return Ok(name);
    }
    for _ in 0..NAMES_TRIED {
        let name = draft.container_name();
        if resource::name_holder(draft.state(), &name).is_none() {
            return Ok(name);
        }
    }
    Ok(draft.container_id().short().to_owned())
}

/// Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn free_name(state: &State, name: &str) -> Result<(), Refusal> {
    let mut letters = name.chars();
    let first = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphanumeric());
    let rest = letters.all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
    let name = name.to_owned();
    if !(first && rest && name.len() > 1) {
        return Err(Refusal::InvalidName { name });
    }
    match resource::name_holder(state, &name) {
        Some(holder) => Err(Refusal::NameTaken {
            name,
            holder: resource::describe(holder),
        }),
        None => Ok(()),
    }
}

/// Networks are asked for by name or identifier; from here on by name.
fn resolve_networks(state: &State, spec: &mut ServiceSpec) -> Result<(), Refusal> {
    let container = Arc::make_mut(&mut spec.container);
    let NetworkMode::Attached(wishes) = &mut container.network else {
        return Ok(());
    };
    for wish in wishes {
        let network = resource::find_network(state, &wish.network)?;
        wish.network.clone_from(&network.spec.name);
        for address in wish.fixed_addresses() {
            check_address(state, network, address)?;
        }
    }
    Ok(())
}

/// A fixed address must be one of the network's, and nobody's.
fn check_address(state: &State, network: &Network, address: IpAddr) -> Result<(), Refusal> {
    if !network.subnets().any(|subnet| subnet.contains(&address)) {
        return Err(Refusal::AddressOutside {
            address,
            network: network.spec.name.clone(),
            subnet: network.subnet_like(address),
        });
    }
    let taken = state.tasks.values().find(|task| {
        let mut places = task.attachments.iter();
        places.any(|place| place.network == network.id && place.addresses().any(|it| it == address))
    });
    match taken {
        Some(task) => Err(Refusal::AddressTaken {
            address,
            network: network.spec.name.clone(),
            holder: format!("container `{}`", task.name),
        }),
        None => Ok(()),
    }
}

/// A named volume that does not exist is made, as Docker does.
fn bring_volumes(draft: &mut Draft<'_>, spec: &ServiceSpec) -> Result<(), Refusal> {
    for name in slot::volumes(&spec.container) {
        if !draft.state().volumes.contains_key(name) {
            let volume = VolumeSpec {
                name: name.to_owned(),
                driver: "local".to_owned(),
                ..VolumeSpec::default()
            };
            resource::create_volume(draft, volume)?;
        }
    }
    Ok(())
}

pub(super) fn start(draft: &mut Draft<'_>, id: &ContainerId) -> Result<Reply, Refusal> {
    let task = find(draft.state(), id)?;
    if services::is_up(&task) {
        return Ok(Reply::Done);
    }
    if let Some(service) = draft.state().service_of(&task) {
        ports_are_free(draft.state(), service)?;
    }
    services::unhalt(draft, &task);
    if task.status.state.is_terminal() || task.desired == DesiredState::Shutdown {
        let cause = Cause::Person(WaitsFor::Nothing);
        slot::rerun(
            draft,
            &task,
            DesiredState::Running,
            cause,
            "started by a person",
        );
    }
    Ok(Reply::Done)
}

/// What is being stopped already is stopped as the last order says.
pub(super) fn stop(
    draft: &mut Draft<'_>,
    id: &ContainerId,
    order: StopOrder,
) -> Result<Reply, Refusal> {
    let task = find(draft.state(), id)?;
    if let Some(service) = draft.state().service_of(&task).cloned() {
        services::update(draft, &service, |service| {
            service.halted.insert(task.slot);
            service.stop = order.clone();
        });
    }
    // A run that waits for the one before is taken back; the one before is what has to end.
    let runs: Vec<Arc<Task>> = draft.state().container_tasks(id).cloned().collect();
    for run in runs {
        let begun = run.desired != DesiredState::Ready;
        if begun && slot::is_live(&run) && run.stop.as_deref() != Some(&order) {
            let desired = run.desired.max(DesiredState::Shutdown);
            draft.push(Change::Desire(run.id.clone(), desired, Some(order.clone())));
        }
    }
    Ok(Reply::Done)
}

pub(super) fn restart(
    draft: &mut Draft<'_>,
    id: &ContainerId,
    order: &StopOrder,
) -> Result<Reply, Refusal> {
    let task = find(draft.state(), id)?;
    services::restart_task(draft, &task, order, WaitsFor::Nothing);
    Ok(Reply::Done)
}

pub(super) fn remove(
    draft: &mut Draft<'_>,
    id: &ContainerId,
    running: RunningContainers,
    volumes: Volumes,
) -> Result<Reply, Refusal> {
    let task = find(draft.state(), id)?;
    if services::is_up(&task) && running == RunningContainers::Spare {
        return Err(Refusal::ContainerRunning {
            name: task.name.clone(),
        });
    }
    services::remove_task(draft, &task, running, volumes);
    let service = draft.state().service_of(&task).cloned();
    if let Some(service) = service.filter(|service| service.is_standalone()) {
        let order = StopOrder {
            remove_volumes: volumes == Volumes::Delete,
            ..StopOrder::default()
        };
        services::remove(draft, &service, order);
    }
    Ok(Reply::Done)
}

pub(super) fn rename(
    draft: &mut Draft<'_>,
    id: &ContainerId,
    name: &str,
) -> Result<Reply, Refusal> {
    let task = find(draft.state(), id)?;
    if task.name == name {
        return Ok(Reply::Done);
    }
    free_name(draft.state(), name)?;
    let service = draft.state().service_of(&task).cloned();
    if let Some(service) = service.filter(|service| service.is_standalone()) {
        let mut spec = (*service.spec).clone();
        spec.container_name = Some(name.to_owned());
        if service.stack.is_none() {
            name.clone_into(&mut spec.name);
        }
        let spec = Arc::new(spec);
        services::update(draft, &service, |service| {
            service.spec = spec.clone();
            service.versions.insert(service.version, spec);
        });
    }
    let runs: Vec<Arc<Task>> = draft.state().container_tasks(id).cloned().collect();
    for run in runs {
        let mut run = (*run).clone();
        name.clone_into(&mut run.name);
        draft.set_task(run);
    }
    Ok(Reply::Done)
}

/// The last run of a container that is not being removed.
fn find(state: &State, id: &ContainerId) -> Result<Arc<Task>, Refusal> {
    let task = state
        .container(id)
        .filter(|task| task.desired != DesiredState::Remove);
    task.cloned().ok_or_else(|| Refusal::UnknownContainer {
        container: id.to_string(),
    })
}
