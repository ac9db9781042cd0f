//! Interfaces of one container: pairs with one end on a bridge and the other in its namespace.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use futures::future::join_all;
use ipnet::IpNet;
use scheduler::assignment::AssignedInterface;
use scheduler::model::container::PublishedPort;
use scheduler::model::id::ContainerId;

use super::address::{Instance, is_interface_name, parse_mac};
use super::netlink::{Isolation, Netlink, VethPair};
use super::ports::{self, Held};
use super::record::{ContainerRecord, InterfaceRecord};
use super::sweep::Sweeper;
use super::sysctl::{self, Ipv6};
use super::{Connected, Endpoint, NetworkError, Networks, kernel};
use crate::namespace::NetworkNamespace;

/// The kernel takes well below a millisecond; a machine that is busy for so long loses packets too.
const CARRIER_TRIES: u32 = 200;
const CARRIER_PAUSE: Duration = Duration::from_millis(1);

impl Networks {
    /// Makes what is missing, removes what is too much, and then binds ports.
    pub(super) async fn connect_in(
        &self,
        container: &ContainerId,
        namespace: &NetworkNamespace,
        endpoints: &[Endpoint<'_>],
        ports: &[PublishedPort],
        before: Option<&ContainerRecord>,
    ) -> Result<Connected, NetworkError> {
        let wanted = self.interfaces(container, endpoints)?;
        let old = before.map_or(&[][..], |record| &record.interfaces);
        for interface in old.iter().filter(|interface| !wanted.contains(interface)) {
            self.sweeper
                .delete(&interface.veth)
                .await
                .map_err(kernel("remove an interface"))?;
        }
        let targets = targets(endpoints);
        let held = self.hold_all(container, ports, &targets)?;
        // At the same time: the one waits for the kernel, the other for `nft`. Written down before
        // either, so that a later agent finds what a dead one was making.
        let record = self.record(container, &wanted, &targets, &held)?;
        let (made, finished) = tokio::join!(
            self.furnish(container, namespace, endpoints, &wanted),
            self.finish(record, held)
        );
        made.and(finished)
    }

    /// Makes the interfaces that are missing, and what they need inside.
    async fn furnish(
        &self,
        container: &ContainerId,
        namespace: &NetworkNamespace,
        endpoints: &[Endpoint<'_>],
        wanted: &[InterfaceRecord],
    ) -> Result<(), NetworkError> {
        let inside = enter(namespace).await?;
        for (endpoint, interface) in endpoints.iter().zip(wanted) {
            // What the kernel has decides: the record may be of an earlier run of the container.
            let link = inside.link(&interface.name).await;
            if link
                .map_err(kernel("look up the container's interfaces"))?
                .is_none()
            {
                self.make(container, namespace, endpoint, interface).await?;
            }
            configure(namespace, &inside, endpoint).await?;
        }
        for interface in wanted {
            self.carries(&interface.veth).await;
        }
        Ok(())
    }

    /// Returns when the bridge forwards for the interface: a program's first packet, lost, would
    /// be sent again after a second at the earliest.
    async fn carries(&self, veth: &str) {
        for _ in 0..CARRIER_TRIES {
            match self.netlink.is_operating(veth).await {
                Ok(false) => tokio::time::sleep(CARRIER_PAUSE).await,
                // What cannot be asked is not waited for.
                Ok(true) | Err(_) => return,
            }
        }
        tracing::warn!(veth, "the interface does not carry packets yet");
    }

    /// What will be made, checked: all of it ends in rule text.
    fn interfaces(
        &self,
        container: &ContainerId,
        endpoints: &[Endpoint<'_>],
    ) -> Result<Vec<InterfaceRecord>, NetworkError> {
        let record = |endpoint: &Endpoint<'_>| {
            let Endpoint { interface, network } = endpoint;
            if !is_interface_name(&interface.name) {
                return Err(NetworkError::InvalidName {
                    name: interface.name.clone(),
                });
            }
            if parse_mac(&interface.mac).is_none() {
                return Err(NetworkError::InvalidMac {
                    mac: interface.mac.clone(),
                });
            }
            Ok(InterfaceRecord {
                network: network.id.clone(),
                veth: self.instance.veth(container, &network.id),
                name: interface.name.clone(),
                address: interface.address,
                ipv6: interface.ipv6.map(|it| it.address),
                link_local: interface.link_local.clone(),
                mac: interface.mac.clone(),
            })
        };
        endpoints.iter().map(record).collect()
    }

    async fn make(
        &self,
        container: &ContainerId,
        namespace: &NetworkNamespace,
        endpoint: &Endpoint<'_>,
        interface: &InterfaceRecord,
    ) -> Result<(), NetworkError> {
        let network = self.known().networks.get(&interface.network).cloned();
        let unknown = || NetworkError::UnknownNetwork {
            network: endpoint.network.name.clone(),
        };
        let network = network.ok_or_else(unknown)?;
        let bridge = self
            .netlink
            .link(&network.bridge)
            .await
            .map_err(kernel("look up a bridge"))?;
        let pair = VethPair {
            host_name: &interface.veth,
            alias: self.instance.alias(container.as_str()),
            bridge: bridge.ok_or_else(unknown)?.index,
            isolation: if network.inter_container {
                Isolation::Open
            } else {
                Isolation::Isolated
            },
            name: &interface.name,
            mac: parse_mac(&interface.mac).ok_or_else(|| NetworkError::InvalidMac {
                mac: interface.mac.clone(),
            })?,
            mtu: network.packet_size(),
        };
        let fd = namespace.as_fd().as_raw_fd();
        let mut made = self.netlink.add_veth(&pair, fd).await;
        if made
            .as_ref()
            .is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST))
        {
            // Left over from a run that ended in between.
            self.sweeper
                .delete(&interface.veth)
                .await
                .map_err(kernel("remove an old interface"))?;
            made = self.netlink.add_veth(&pair, fd).await;
        }
        made.map_err(|source| match source.raw_os_error() {
            Some(libc::EXFULL) => NetworkError::BridgeFull {
                network: network.name.clone(),
            },
            _ => kernel(format!("connect to network `{}`", network.name))(source),
        })
    }

    /// Binds the ports that are not bound yet. The sockets are dropped again on error.
    fn hold_all(
        &self,
        container: &ContainerId,
        ports: &[PublishedPort],
        targets: &[IpAddr],
    ) -> Result<Vec<Held>, NetworkError> {
        if targets.is_empty() {
            if !ports.is_empty() {
                tracing::warn!(
                    container = container.short(),
                    "no way in: ports are not published on internal networks"
                );
            }
            return Ok(Vec::new());
        }
        // Bound by an earlier call, or by an agent before this one.
        if self
            .known()
            .held
            .get(container)
            .is_some_and(|held| !held.is_empty())
        {
            return Ok(Vec::new());
        }
        let mut held = Vec::new();
        for port in ports {
            let addresses = ports::host_addresses_towards(port, targets)?;
            held.extend(self.hold(port, &addresses)?);
        }
        Ok(held)
    }

    /// Writes down what the container gets, together with the ports that it has already.
    fn record(
        &self,
        container: &ContainerId,
        interfaces: &[InterfaceRecord],
        targets: &[IpAddr],
        held: &[Held],
    ) -> Result<ContainerRecord, NetworkError> {
        let mut ports: Vec<_> = held.iter().map(|held| held.port.clone()).collect();
        if let Some(held) = self.known().held.get(container) {
            ports.extend(held.iter().map(|held| held.port.clone()));
        }
        let record = ContainerRecord {
            id: container.clone(),
            interfaces: interfaces.to_vec(),
            forward_to: targets.first().copied(),
            forward_to_ipv6: targets.get(1).and_then(|it| match it {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            }),
            ports,
        };
        self.records
            .keep_container(&record)
            .map_err(kernel("record a container"))?;
        Ok(record)
    }

    /// Keeps the ports and lets the firewall know.
    async fn finish(
        &self,
        record: ContainerRecord,
        held: Vec<Held>,
    ) -> Result<Connected, NetworkError> {
        let ports = record.ports.clone();
        let outdated = self.known().without(&record.id, &ports);
        for other in &outdated {
            self.records
                .keep_container(other)
                .map_err(kernel("record a container"))?;
        }
        self.change(|known| {
            for other in outdated {
                known.containers.insert(other.id.clone(), other);
            }
            known
                .held
                .entry(record.id.clone())
                .or_default()
                .extend(held);
            known.containers.insert(record.id.clone(), record);
        })
        .await?;
        Ok(Connected { ports })
    }
}

/// Deletes the host's ends, and with them the container's; without a record they are searched for.
pub(super) async fn remove(
    netlink: &Netlink,
    sweeper: &Sweeper,
    instance: &Instance,
    container: &ContainerId,
    record: Option<&ContainerRecord>,
) -> Result<(), NetworkError> {
    let names: Vec<String> = match record {
        Some(record) => record
            .interfaces
            .iter()
            .map(|interface| interface.veth.clone())
            .collect(),
        None => {
            let alias = instance.alias(container.as_str());
            let links = netlink.links().await.map_err(kernel("list interfaces"))?;
            links
                .into_iter()
                .filter(|link| link.alias.as_deref() == Some(&alias))
                .map(|link| link.name)
                .collect()
        }
    };
    let deletions = names.iter().map(async |name| {
        let deleted = sweeper.delete(name).await;
        deleted.map_err(kernel(format!("remove interface `{name}`")))
    });
    join_all(deletions).await.into_iter().collect()
}

/// Where published ports lead, of each family: the interface that also carries the answers to the
/// outside. IPv4 first.
fn targets(endpoints: &[Endpoint<'_>]) -> Vec<IpAddr> {
    let outward = endpoints.iter().filter(|it| !it.network.internal);
    let four = |it: &&Endpoint<'_>| it.interface.address.is_ipv4();
    let six = |it: &&Endpoint<'_>| it.interface.addresses().any(|it| it.is_ipv6());
    let leads = |it: &&Endpoint<'_>, four: bool| {
        let beside = it.interface.ipv6.and_then(|it| it.default_gateway);
        let gateways = it.interface.default_gateway.into_iter();
        let mut gateways = gateways.chain(beside.map(IpAddr::V6));
        gateways.any(|it| it.is_ipv4() == four)
    };
    let four_way = outward.clone().filter(four);
    let six_way = outward.filter(six);
    let four = (four_way.clone().find(|it| leads(it, true))).or(four_way.clone().next());
    let six = (six_way.clone().find(|it| leads(it, false))).or(six_way.clone().next());
    let four = four.map(|it| it.interface.address);
    let six = six.and_then(|it| it.interface.addresses().find(|it| it.is_ipv6()));
    four.into_iter().chain(six).collect()
}

/// Prepares the namespace: loopback up, no IPv6 on the interfaces to come unless they are told.
async fn enter(namespace: &NetworkNamespace) -> Result<Netlink, NetworkError> {
    let prepare = || {
        // `default`, not `all`: programs may listen on ::1.
        sysctl::set_ipv6("default", Ipv6::Off)?;
        Netlink::open()
    };
    let action = "enter the container's network namespace";
    let inside = namespace.run(prepare).await.map_err(kernel(action))?;
    // Loopback is the first interface of every namespace.
    inside
        .set_up(1)
        .await
        .map_err(kernel("bring up the container's loopback interface"))?;
    Ok(inside)
}

/// Addresses, link and routes inside the namespace; each may be there already.
async fn configure(
    namespace: &NetworkNamespace,
    inside: &Netlink,
    endpoint: &Endpoint<'_>,
) -> Result<(), NetworkError> {
    let interface = endpoint.interface;
    let name = &interface.name;
    let failed = |what: &str| kernel(format!("{what} interface `{name}` of the container"));
    let link = inside.link(name).await.map_err(failed("look up"))?;
    let missing = || failed("find")(io::Error::from_raw_os_error(libc::ENODEV));
    let index = link.ok_or_else(missing)?.index;
    let addresses = addresses(interface);
    if addresses.iter().any(|it| it.addr().is_ipv6()) {
        let name = name.clone();
        let switch = namespace.run(move || sysctl::set_ipv6(&name, Ipv6::Told));
        switch.await.map_err(failed("switch on IPv6 of"))?;
    }
    for address in addresses {
        let added = inside.add_address(index, address).await;
        added.map_err(failed("address"))?;
    }
    inside.set_up(index).await.map_err(failed("bring up"))?;
    let beside = interface.ipv6.and_then(|it| it.default_gateway);
    let gateways = interface.default_gateway.into_iter();
    for gateway in gateways.chain(beside.map(IpAddr::V6)) {
        let routed = inside.add_default_route(gateway).await;
        routed.map_err(failed("route through"))?;
    }
    Ok(())
}

/// Those on the network, and the link-local ones.
fn addresses(interface: &AssignedInterface) -> Vec<IpNet> {
    let main = IpNet::new(interface.address, interface.prefix_len);
    let beside = interface
        .ipv6
        .map(|it| IpNet::new(it.address.into(), it.prefix_len));
    let local = interface.link_local.iter().map(|it| {
        let prefix_len = match it {
            IpAddr::V4(it) if it.is_link_local() => 16,
            IpAddr::V6(it) if it.is_unicast_link_local() => 64,
            // Compose's own example is none: it is the container's, and nobody else is beside it.
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        IpNet::new(*it, prefix_len)
    });
    let all = std::iter::once(main).chain(beside).chain(local);
    all.filter_map(Result::ok).collect()
}
