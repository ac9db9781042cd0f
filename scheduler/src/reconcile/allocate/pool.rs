//! The addresses of networks: which are given out, and which comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::wishes;
use crate::model::container::NetworkAttachment;
use crate::model::id::{NetworkId, ServiceId};
use crate::model::network::Network;
use crate::model::task::Task;
use crate::state::State;

/// Addresses in use, read from the state when the first one is needed.
#[derive(Default)]
pub(super) struct Pool {
    used: Option<Used>,
    cursors: BTreeMap<NetworkId, IpAddr>,
}

struct Used {
    /// Everything that is given out, by holder: a slot, or a service for its virtual address.
    given: BTreeMap<(NetworkId, IpAddr), Holder>,
    /// Addresses that specs ask for, by network name: never given out by chance.
    reserved: BTreeSet<(String, IpAddr)>,
}

type Holder = (ServiceId, u32);

/// The holder of a virtual address: slots count from one.
const VIRTUAL: u32 = 0;

impl Pool {
    fn used(&mut self, state: &State) -> &mut Used {
        self.used.get_or_insert_with(|| Used::read(state))
    }

    pub(super) fn moved(self) -> BTreeMap<NetworkId, IpAddr> {
        self.cursors
    }

    /// An address of each family that the network has: those that were asked for, as far as there are.
    pub(super) fn take_wished(
        &mut self,
        state: &State,
        network: &Network,
        wish: &NetworkAttachment,
        task: &Task,
    ) -> Result<(IpAddr, Option<Ipv6Addr>), String> {
        // Those first: a wish that cannot be met takes nothing from others.
        for address in wish.fixed_addresses() {
            self.take_fixed(state, network, address, task)?;
        }
        let main = match network.subnet {
            IpNet::V4(_) => wish.ipv4_address.map(IpAddr::V4),
            IpNet::V6(_) => wish.ipv6_address.map(IpAddr::V6),
        };
        let main = match main {
            Some(address) => address,
            None => self.take_after_cursor(state, network)?,
        };
        let beside = match wish.ipv6_address.filter(|_| main.is_ipv4()) {
            Some(address) => Some(address),
            None => self.take_beside(state, network, main)?,
        };
        Ok((main, beside))
    }

    pub(super) fn take_next(
        &mut self,
        state: &State,
        network: &Network,
    ) -> Result<(IpAddr, Option<Ipv6Addr>), String> {
        let main = self.take_after_cursor(state, network)?;
        Ok((main, self.take_beside(state, network, main)?))
    }

    /// The containers of one slot follow one another on the same fixed address.
    fn take_fixed(
        &mut self,
        state: &State,
        network: &Network,
        address: IpAddr,
        task: &Task,
    ) -> Result<(), String> {
        let name = &network.spec.name;
        if !network.subnets().any(|subnet| subnet.contains(&address)) {
            let subnet = network.subnet_like(address);
            return Err(format!("address {address} is not in {subnet} ({name})"));
        }
        let me = (task.service.clone(), task.slot);
        let used = self.used(state);
        let holder = used
            .given
            .entry((network.id.clone(), address))
            .or_insert_with(|| me.clone());
        if *holder == me {
            return Ok(());
        }
        let holder = state
            .service(&holder.0)
            .map_or_else(String::new, |it| it.full_name());
        Err(format!(
            "address {address} of network {name} is used by {holder}"
        ))
    }

    /// The next free address of the network's only subnet, or its IPv4 one.
    fn take_after_cursor(&mut self, state: &State, network: &Network) -> Result<IpAddr, String> {
        let cursor = self
            .cursors
            .get(&network.id)
            .or_else(|| state.address_cursors.get(&network.id))
            .copied();
        let range = match network.subnet {
            IpNet::V4(_) => network.spec.ip_range.map(IpNet::V4),
            IpNet::V6(_) => network.spec.ipv6.ip_range.map(IpNet::V6),
        };
        let start = cursor.map(|it| bits(it).wrapping_add(1));
        let address = self.take_from(state, network, network.subnet, range, start)?;
        self.cursors.insert(network.id.clone(), address);
        Ok(address)
    }

    /// The IPv6 address beside an IPv4 one.
    fn take_beside(
        &mut self,
        state: &State,
        network: &Network,
        main: IpAddr,
    ) -> Result<Option<Ipv6Addr>, String> {
        let Some(beside) = network.ipv6 else {
            return Ok(None);
        };
        let place = bits(main) - bits(network.subnet.network());
        let range = network.spec.ipv6.ip_range;
        let base = range.unwrap_or(beside.subnet).network().to_bits();
        let (subnet, range) = (IpNet::V6(beside.subnet), range.map(IpNet::V6));
        let start = Some(base.wrapping_add(place));
        match self.take_from(state, network, subnet, range, start)? {
            IpAddr::V6(address) => Ok(Some(address)),
            IpAddr::V4(_) => Ok(None),
        }
    }

    fn take_from(
        &mut self,
        state: &State,
        network: &Network,
        subnet: IpNet,
        range: Option<IpNet>,
        start: Option<u128>,
    ) -> Result<IpAddr, String> {
        let used = self.used(state);
        let free = |address: &IpAddr| used.is_free(network, *address);
        let range = range.unwrap_or(subnet);
        let Some(address) = around(subnet, range, start).find(free) else {
            let name = &network.spec.name;
            return Err(format!("no address is left in {subnet} of network {name}"));
        };
        let virtual_holder = (ServiceId::new(""), VIRTUAL);
        used.given
            .insert((network.id.clone(), address), virtual_holder);
        Ok(address)
    }
}

impl Used {
    fn read(state: &State) -> Self {
        let mut given = BTreeMap::new();
        for task in state.tasks.values() {
            for attachment in &task.attachments {
                for address in attachment.addresses() {
                    let key = (attachment.network.clone(), address);
                    given.insert(key, (task.service.clone(), task.slot));
                }
            }
        }
        for network in state.networks.values() {
            let beside = network.node_addresses_ipv6.values();
            let beside = beside.map(|address| IpAddr::V6(*address));
            for address in network.node_addresses.values().copied().chain(beside) {
                let holder = (ServiceId::new(""), VIRTUAL);
                given.insert((network.id.clone(), address), holder);
            }
        }
        let mut reserved = BTreeSet::new();
        for service in state.services.values() {
            for (network, address) in service.all_virtual_addresses() {
                let key = (network.clone(), address);
                given.insert(key, (service.id.clone(), VIRTUAL));
            }
            for wish in wishes(service) {
                let fixed = wish.fixed_addresses();
                reserved.extend(fixed.map(|it| (wish.network.clone(), it)));
            }
        }
        Self { given, reserved }
    }

    fn is_free(&self, network: &Network, address: IpAddr) -> bool {
        address != network.gateway
            && network.ipv6.is_none_or(|it| address != it.gateway)
            && !network.spec.aux_addresses.values().any(|it| *it == address)
            && !self.given.contains_key(&(network.id.clone(), address))
            && !self
                .reserved
                .contains(&(network.spec.name.clone(), address))
    }
}

/// Every host address of the range once, beginning at `start` where that is in it.
pub(super) fn around(
    subnet: IpNet,
    range: IpNet,
    start: Option<u128>,
) -> impl Iterator<Item = IpAddr> {
    let (first, last) = (bits(range.network()), bits(range.broadcast()));
    let start = start.filter(|it| (first..=last).contains(it));
    let start = start.unwrap_or(first);
    let address = move |bits: u128| match subnet {
        // Within the subnet's 32 bits.
        IpNet::V4(_) => IpAddr::V4((bits as u32).into()),
        IpNet::V6(_) => IpAddr::V6(bits.into()),
    };
    let (lowest, highest) = (subnet.network(), subnet.broadcast());
    (start..=last)
        .chain(first..start)
        .map(address)
        .filter(move |address| *address != lowest && *address != highest)
}

pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
