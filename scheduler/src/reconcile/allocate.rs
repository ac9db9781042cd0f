//! Gives containers their addresses, and services theirs.
//!
//! Addresses go round: the next one after the last, so that an address that has become free is not
//! given to a stranger while somebody may still have it in a cache. A container keeps its address
//! for as long as it exists.

mod overlay;
pub mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::model::container::{NetworkAttachment, NetworkMode};
use crate::model::id::{NetworkId, ServiceId};
use crate::model::network::{Attachment, Network, mac_of};
use crate::model::service::{EndpointMode, Service, ServiceMode};
use crate::model::task::Task;
use crate::state::{Change, Draft, State};

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
        let address = match wish.ipv4_address {
            Some(address) => pool.take_fixed(draft.state(), network, address, &task)?,
            None => pool.take_next(draft.state(), network)?,
        };
        attachments.push(Attachment {
            network: network.id.clone(),
            address,
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
        let address = pool.take_next(draft.state(), network)?;
        service
            .virtual_addresses
            .insert(network.id.clone(), address);
    }
    draft.push(Change::SetService(Arc::new(service)));
    Ok(())
}

/// Addresses in use, read from the state when the first one is needed.
#[derive(Default)]
struct Pool {
    used: Option<Used>,
    cursors: BTreeMap<NetworkId, Ipv4Addr>,
}

struct Used {
    /// Everything that is given out, by holder: a slot, or a service for its virtual address.
    given: BTreeMap<(NetworkId, Ipv4Addr), Holder>,
    /// Addresses that specs ask for, by network name: never given out by chance.
    reserved: BTreeSet<(String, Ipv4Addr)>,
}

type Holder = (ServiceId, u32);

/// The holder of a virtual address: slots count from one.
const VIRTUAL: u32 = 0;

impl Pool {
    fn used(&mut self, state: &State) -> &mut Used {
        self.used.get_or_insert_with(|| Used::read(state))
    }

    fn moved(self) -> BTreeMap<NetworkId, Ipv4Addr> {
        self.cursors
    }

    /// The containers of one slot follow one another on the same fixed address.
    fn take_fixed(
        &mut self,
        state: &State,
        network: &Network,
        address: Ipv4Addr,
        task: &Task,
    ) -> Result<Ipv4Addr, String> {
        let name = &network.spec.name;
        if !network.subnet.contains(&address) {
            return Err(format!(
                "address {address} is not in {} ({name})",
                network.subnet
            ));
        }
        let me = (task.service.clone(), task.slot);
        let used = self.used(state);
        let holder = used
            .given
            .entry((network.id.clone(), address))
            .or_insert_with(|| me.clone());
        if *holder == me {
            return Ok(address);
        }
        let holder = state
            .service(&holder.0)
            .map_or_else(String::new, |it| it.full_name());
        Err(format!(
            "address {address} of network {name} is used by {holder}"
        ))
    }

    fn take_next(&mut self, state: &State, network: &Network) -> Result<Ipv4Addr, String> {
        let cursor = self
            .cursors
            .get(&network.id)
            .or_else(|| state.address_cursors.get(&network.id))
            .copied();
        let used = self.used(state);
        let free = |address: &Ipv4Addr| used.is_free(network, *address);
        let Some(address) = around(network, cursor).find(free) else {
            let name = &network.spec.name;
            return Err(format!(
                "no address is left in {} of network {name}",
                network.subnet
            ));
        };
        let virtual_holder = (ServiceId::new(""), VIRTUAL);
        used.given
            .insert((network.id.clone(), address), virtual_holder);
        self.cursors.insert(network.id.clone(), address);
        Ok(address)
    }
}

impl Used {
    fn read(state: &State) -> Self {
        let mut given = BTreeMap::new();
        for task in state.tasks.values() {
            for attachment in &task.attachments {
                let key = (attachment.network.clone(), attachment.address);
                given.insert(key, (task.service.clone(), task.slot));
            }
        }
        for network in state.networks.values() {
            for address in network.node_addresses.values() {
                let holder = (ServiceId::new(""), VIRTUAL);
                given.insert((network.id.clone(), *address), holder);
            }
        }
        let mut reserved = BTreeSet::new();
        for service in state.services.values() {
            for (network, address) in &service.virtual_addresses {
                let key = (network.clone(), *address);
                given.insert(key, (service.id.clone(), VIRTUAL));
            }
            for wish in wishes(service) {
                reserved.extend(wish.ipv4_address.map(|it| (wish.network.clone(), it)));
            }
        }
        Self { given, reserved }
    }

    fn is_free(&self, network: &Network, address: Ipv4Addr) -> bool {
        address != network.gateway
            && !network.spec.aux_addresses.values().any(|it| *it == address)
            && !self.given.contains_key(&(network.id.clone(), address))
            && !self
                .reserved
                .contains(&(network.spec.name.clone(), address))
    }
}

/// Every host address of the network's range once, beginning after `cursor`.
fn around(network: &Network, cursor: Option<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
    let range = network.spec.ip_range.unwrap_or(network.subnet);
    let first = u32::from(range.network());
    let last = u32::from(range.broadcast());
    let start = cursor.map_or(first, |cursor| u32::from(cursor).wrapping_add(1));
    let start = if (first..=last).contains(&start) {
        start
    } else {
        first
    };
    let (lowest, highest) = (network.subnet.network(), network.subnet.broadcast());
    (start..=last)
        .chain(first..start)
        .map(Ipv4Addr::from)
        .filter(move |address| *address != lowest && *address != highest)
}

#[cfg(test)]
mod tests;
