//! Gives containers their addresses, and services theirs.
//!
//! Addresses go round: the next one after the last, so that an address that has become free is not
//! given to a stranger while somebody may still have it in a cache. A container keeps its address
//! for as long as it exists.
//!
//! On a network of both kinds the IPv6 address has the IPv4 one's place in its subnet, if nobody has
//! that: `172.18.0.5` goes with `fd…::5`, and goes round with it.

mod overlay;
mod pool;
pub mod subnet;

use std::sync::Arc;

use crate::model::container::{NetworkAttachment, NetworkMode};
use crate::model::network::{Attachment, Network, mac_of};
use crate::model::service::{EndpointMode, Service, ServiceMode};
use crate::model::task::Task;
use crate::state::{Change, Draft, State};
use pool::Pool;

/// Gives each of the tasks its addresses. Returns those that have all they need; the others are
/// told what is missing.
pub(super) fn pass(draft: &mut Draft<'_>, open: Vec<Arc<Task>>) -> Vec<Arc<Task>> {
    let mut pool = Pool::default();
    overlay::pass(draft, &mut pool);
    let mut ready = Vec::new();
    for task in open {
        let Some(service) = draft.state().service_of(&task).cloned() else {
            continue;
        };
        match attach(draft, &mut pool, &service, task.clone()) {
            Ok(task) => ready.push(task),
            Err(reason) => draft.explain(&task, reason),
        }
    }
    for (network, address) in pool.moved() {
        draft.push(Change::SetAddressCursor(network, address));
    }
    ready
}

fn attach(
    draft: &mut Draft<'_>,
    pool: &mut Pool,
    service: &Arc<Service>,
    task: Arc<Task>,
) -> Result<Arc<Task>, String> {
    let wishes = wishes(service);
    if wishes.is_empty() {
        return Ok(task);
    }
    let networks = networks(draft.state(), wishes)?;
    virtual_addresses(draft, pool, service, &networks)?;
    if !task.attachments.is_empty() {
        return Ok(task);
    }
    let mut attachments = Vec::new();
    for (wish, network) in wishes.iter().zip(&networks) {
        let (address, ipv6) = pool.take_wished(draft.state(), network, wish, &task)?;
        attachments.push(Attachment {
            network: network.id.clone(),
            address,
            ipv6,
            mac: wish.mac_address.clone().unwrap_or_else(|| mac_of(address)),
        });
    }
    let mut task = Arc::unwrap_or_clone(task);
    task.attachments = attachments;
    let task = Arc::new(task);
    draft.push(Change::SetTask(task.clone()));
    Ok(task)
}

fn wishes(service: &Service) -> &[NetworkAttachment] {
    match &service.spec.container.network {
        NetworkMode::Attached(wishes) => wishes,
        NetworkMode::Host
        | NetworkMode::None
        | NetworkMode::Container(_)
        | NetworkMode::Service(_) => &[],
    }
}

fn networks(state: &State, wishes: &[NetworkAttachment]) -> Result<Vec<Arc<Network>>, String> {
    let find = |wish: &NetworkAttachment| {
        let name = &wish.network;
        let network = state.network_named(name);
        let network = network.ok_or_else(|| format!("network {name} does not exist"))?;
        if network.removing {
            return Err(format!("network {name} is being removed"));
        }
        Ok(network.clone())
    };
    wishes.iter().map(find).collect()
}

/// Addresses that stand for all containers, once a service has several.
fn virtual_addresses(
    draft: &mut Draft<'_>,
    pool: &mut Pool,
    service: &Arc<Service>,
    networks: &[Arc<Network>],
) -> Result<(), String> {
    let several = match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicas > 1,
        ServiceMode::Global => draft.state().nodes.len() > 1,
        ServiceMode::ReplicatedJob { .. }
        | ServiceMode::GlobalJob
        | ServiceMode::Standalone { .. } => false,
    };
    if !several || service.spec.endpoint_mode != EndpointMode::Vip {
        return Ok(());
    }
    // The row as the draft has it by now: another task of the service may have been first.
    let current = draft
        .state()
        .service(&service.id)
        .unwrap_or(service)
        .clone();
    let missing: Vec<_> = networks
        .iter()
        .filter(|network| !current.virtual_addresses.contains_key(&network.id))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut service = (*current).clone();
    for network in missing {
        let (address, ipv6) = pool.take_next(draft.state(), network)?;
        let id = || network.id.clone();
        service.virtual_addresses.insert(id(), address);
        let beside = ipv6.map(|ipv6| (id(), ipv6));
        service.virtual_addresses_ipv6.extend(beside);
    }
    draft.push(Change::SetService(Arc::new(service)));
    Ok(())
}

#[cfg(test)]
mod tests;
