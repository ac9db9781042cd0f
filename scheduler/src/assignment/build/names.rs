//! What names mean on each network: which container, or which address that stands for several.
//!
//! | name | of a service with one container | with several and a virtual address |
//! |---|---|---|
//! | service, aliases | its address while it runs | the virtual address |
//! | `tasks.SERVICE` | its address | the addresses of all that serve |
//! | container, short id | its address | its address |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::spec_of;
use crate::assignment::VirtualAddress;
use crate::model::container::{NetworkAttachment, NetworkMode};
use crate::model::id::NetworkId;
use crate::model::network::Attachment;
use crate::model::node::NodeStatus;
use crate::model::service::{Service, ServiceSpec};
use crate::model::task::{DesiredState, Task, TaskState};
use crate::reconcile::slot;
use crate::state::State;

/// What a network's names mean, and its addresses that stand for several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Meanings {
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) virtual_addresses: Vec<VirtualAddress>,
}

/// What one service adds to the names on a network.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    virtual_addresses: Vec<VirtualAddress>,
}

/// The containers of a service that run on one network.
#[derive(Default)]
struct Members {
    /// Running, healthy, and not told to end.
    serving: BTreeSet<IpAddr>,
    running: BTreeSet<IpAddr>,
    aliases: BTreeSet<String>,
}

/// What a service adds to the names on each network.
pub(super) fn of(state: &State, service: &Service) -> BTreeMap<NetworkId, Table> {
    let mut tables: BTreeMap<NetworkId, Table> = BTreeMap::new();
    let mut members: BTreeMap<NetworkId, Members> = BTreeMap::new();
    for task in state.service_tasks(&service.id) {
        if task.status.state != TaskState::Running || is_lost(state, task) {
            continue;
        }
        let Some(spec) = spec_of(state, task) else {
            continue;
        };
        for place in &task.attachments {
            let table = tables.entry(place.network.clone()).or_default();
            for address in place.addresses() {
                table.add(&task.name, address);
                table.add(task.container.short(), address);
            }
            let members = members.entry(place.network.clone()).or_default();
            members.add(task, place);
            members.aliases.extend(aliases(state, spec, &place.network));
        }
    }
    for id in service.virtual_addresses.keys() {
        members.entry(id.clone()).or_default();
    }
    for (id, found) in members {
        let shared = service.all_virtual_addresses();
        let shared = shared.filter(|(network, _)| **network == id);
        let shared: Vec<IpAddr> = shared.map(|(_, address)| address).collect();
        let table = tables.entry(id).or_default();
        table.add_members(service, &shared, found);
    }
    tables
}

impl Meanings {
    /// What the services on a network add, together.
    pub(super) fn of<'a>(tables: impl Iterator<Item = &'a Table>) -> Self {
        let mut names: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut virtual_addresses = Vec::new();
        for table in tables {
            for (name, addresses) in &table.names {
                names.entry(name).or_default().extend(addresses);
            }
            virtual_addresses.extend(table.virtual_addresses.iter().cloned());
        }
        let names = names.into_iter();
        let names = names.map(|(name, them)| (name.to_owned(), them.into_iter().collect()));
        Self {
            names: names.collect(),
            virtual_addresses,
        }
    }
}

/// Nobody reaches what is on a node that is down.
fn is_lost(state: &State, task: &Task) -> bool {
    let node = task.node.as_ref().and_then(|node| state.nodes.get(node));
    node.is_none_or(|node| node.status == NodeStatus::Down)
}

impl Members {
    fn add(&mut self, task: &Task, place: &Attachment) {
        self.running.extend(place.addresses());
        if slot::is_serving(task) && task.desired <= DesiredState::Running {
            self.serving.extend(place.addresses());
        }
    }
}

impl Table {
    fn add(&mut self, name: &str, address: IpAddr) {
        let name = name.to_ascii_lowercase();
        self.names.entry(name).or_default().insert(address);
    }

    fn add_members(&mut self, service: &Service, shared: &[IpAddr], members: Members) {
        // Containers made on their own have no service to be found by.
        let name = (!service.is_standalone()).then_some(&service.spec.name);
        // Better one that is ill than none at all, as a name that is unknown is kept in caches.
        let found = if members.serving.is_empty() {
            &members.running
        } else {
            &members.serving
        };
        for alias in name.into_iter().chain(&members.aliases) {
            match shared {
                [] => found.iter().for_each(|address| self.add(alias, *address)),
                shared => shared.iter().for_each(|address| self.add(alias, *address)),
            }
        }
        if let Some(name) = name {
            let tasks = format!("tasks.{name}");
            found.iter().for_each(|address| self.add(&tasks, *address));
        }
        for address in shared {
            let backends = members.serving.iter().copied();
            let alike = backends.filter(|it| it.is_ipv4() == address.is_ipv4());
            self.virtual_addresses.push(VirtualAddress {
                service: service.spec.name.clone(),
                address: *address,
                backends: alike.collect(),
            });
        }
    }
}

fn aliases(state: &State, spec: &ServiceSpec, network: &NetworkId) -> Vec<String> {
    let NetworkMode::Attached(wishes) = &spec.container.network else {
        return Vec::new();
    };
    let name = state
        .networks
        .get(network)
        .map(|network| &network.spec.name);
    let wish = |wish: &&NetworkAttachment| Some(&wish.network) == name;
    let wishes = wishes.iter().filter(wish);
    wishes
        .flat_map(|wish| wish.aliases.iter().cloned())
        .collect()
}
