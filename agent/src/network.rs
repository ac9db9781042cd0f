//! Networks on this host: bridges, interfaces of containers, published ports, balancing, isolation.
//!
//!      container A            container B              outside
//!     ┌───────────┐          ┌───────────┐               │
//!     │ eth0      │          │ eth0      │               │ eth0
//!     └──┬────────┘          └──┬────────┘          ┌────┴─────┐
//!        │ whv…                 │ whv…              │ forward, │
//!     ───┴──────────────────────┴───── wh-… ────────┤ dnat,    │
//!                 bridge (gateway address)          │ masquer. │
//!                                                   └──────────┘
//!
//! | module | what it keeps |
//! |---|---|
//! | [`address`] | names of kernel objects, derived from identifiers |
//! | [`record`] | what a later agent must know, on disk |
//! | [`bridge`], [`connect`] | bridges and interfaces, through [`netlink`] and [`sweep`] |
//! | [`leaving`] | interfaces that are being deleted, and who must wait for that |
//! | [`overlay`] | tunnels to other nodes |
//! | [`firewall`], [`nftables`], [`watch`] | rule text (pure), its writer, and who else touches it |
//! | [`foreign`] | whether another firewall on this host is in the way |
//! | [`ports`], [`holder`] | published ports, and who has them |
//! | [`relay`] | published ports on `::1`, where no packet can be redirected |
//! | [`shared`] | ports that lead to a service, wherever its containers are |
//! | [`balance`] | virtual addresses (pure) |
//! | [`probe`], [`sysctl`] | what the kernel can make, and its switches |
//!
//! Everything that happens, happens in the network namespace of the thread that calls. A network has
//! IPv4 addresses, IPv6 addresses, or both; where it has no IPv6 that is switched off, on its bridge
//! and in its containers, so that nothing goes around the rules.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use scheduler::assignment::{AssignedInterface, AssignedNetwork, AssignedOverlay};
use scheduler::model::container::{Protocol, PublishedPort};
use scheduler::model::id::{ContainerId, NetworkId};
use serde::{Deserialize, Serialize};

pub use address::Instance;
pub use error::NetworkError;
pub use nftables::{NftError, is_installed as has_nft};
pub use probe::{Kind, keeps_clients, kernel_makes};
pub use sysctl::has_ipv6;

use crate::namespace::NetworkNamespace;
use error::kernel;
use firewall::{Firewall, Ways};
use leaving::Leaving;
use netlink::Netlink;
use nftables::Nftables;
use overlay::Told;
use ports::Held;
use record::{ContainerRecord, NetworkRecord, Records};
use shared::Shared;
use sweep::Sweeper;

mod address;
mod balance;
mod bridge;
mod connect;
mod conntrack;
mod error;
mod firewall;
mod foreign;
mod holder;
mod leaving;
mod netlink;
mod nftables;
mod overlay;
mod ports;
mod probe;
mod record;
mod relay;
mod shared;
mod sweep;
mod sysctl;
mod watch;

/// Where the driver keeps its things.
#[derive(Clone, Debug)]
pub struct NetworksConfig {
    /// Keeps several nodes on one machine apart.
    pub instance: Instance,
    /// A directory for what a later agent must know; best on tmpfs, as it is void after a reboot.
    pub state_dir: PathBuf,
}

/// A network that has a bridge on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNetwork {
    pub id: NetworkId,
    pub bridge: String,
    /// The gateway's address and the prefix; `None` when the bridge is half made.
    pub address: Option<IpNet>,
}

/// An interface to make, and the network that it is on.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    pub interface: &'a AssignedInterface,
    pub network: &'a AssignedNetwork,
}

/// What a container got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    pub ports: Vec<BoundPort>,
}

/// A published port that the host answers on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoundPort {
    /// `0.0.0.0` for every IPv4 address of the host, `::` for every IPv6 one.
    pub host_ip: IpAddr,
    pub port: u16,
    pub target: u16,
    pub protocol: Protocol,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortHolder {
    Container(ContainerId),
    Process {
        pid: u32,
        name: String,
    },
    /// The kernel says that it is taken; nobody was found.
    Unknown,
}

/// Drives the networks of this host.
pub struct Networks {
    instance: Instance,
    records: Records,
    netlink: Netlink,
    sweeper: Sweeper,
    nftables: Nftables,
    leaving: Leaving,
    known: Mutex<Known>,
    /// Held while ports are tried for services, so that nobody takes the trial for somebody else's port.
    binding: Mutex<()>,
}

/// What is on this host, as the records say, and what dies with this process.
#[derive(Default)]
struct Known {
    networks: BTreeMap<NetworkId, NetworkRecord>,
    containers: BTreeMap<ContainerId, ContainerRecord>,
    held: HashMap<ContainerId, Vec<Held>>,
    /// The ways that this process has told each network's tunnel.
    told: BTreeMap<NetworkId, AssignedOverlay>,
    shared: Shared,
    ways: Ways,
    /// The rules for virtual addresses in each container's namespace.
    balanced: HashMap<ContainerId, String>,
}

impl Networks {
    /// Opens the driver, takes over what an earlier agent left, and puts the firewall in place.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be used, or the kernel or `nft` refuses the rules.
    pub async fn open(config: NetworksConfig) -> Result<Arc<Self>, NetworkError> {
        let read = || {
            let records = Records::open(&config.state_dir)?;
            let known = Known {
                networks: records.networks()?,
                containers: records.containers()?,
                shared: Shared::recorded(records.published()?),
                ways: match keeps_clients() {
                    true => Ways::Kept,
                    false => Ways::Lost,
                },
                ..Known::default()
            };
            Ok((records, known))
        };
        let (records, known) = read().map_err(|source| NetworkError::Records {
            path: config.state_dir.clone(),
            source,
        })?;
        let netlink = Netlink::open().map_err(kernel("open a netlink socket"))?;
        // Nobody who is on the way to a service loses it: its ports are answered on as before.
        let published = known.shared.wanted().to_vec();
        let firewall = Firewall::of(
            &known.networks,
            &known.containers,
            published.iter(),
            known.ways,
        );
        let nftables = Nftables::open(config.instance.table(), firewall).await?;
        let networks = Arc::new(Self {
            instance: config.instance,
            records,
            netlink,
            sweeper: Sweeper::start(),
            nftables,
            leaving: Leaving::new(),
            known: Mutex::new(known),
            binding: Mutex::default(),
        });
        networks.bind(&published);
        Ok(networks)
    }

    /// Networks that have a bridge here.
    pub async fn observe(&self) -> Result<Vec<ObservedNetwork>, NetworkError> {
        let mut found = bridge::observe(&self.netlink, &self.instance).await?;
        // A removal that was cut short may have left its record and its rules alone.
        for record in self.known().networks.values() {
            if found.iter().all(|network| network.id != record.id) {
                found.push(ObservedNetwork {
                    id: record.id.clone(),
                    bridge: record.bridge.clone(),
                    address: None,
                });
            }
        }
        Ok(found)
    }

    /// Makes the network's bridge, its address and its rules; repairs what is missing.
    ///
    /// # Errors
    ///
    /// Among others [`NetworkError::BridgeTaken`] when the chosen bridge is somebody else's, and
    /// [`NetworkError::Overlap`] when another network here has a part of the subnet.
    pub async fn ensure(&self, network: &AssignedNetwork) -> Result<(), NetworkError> {
        let mut record = self.check_network(network)?;
        if let Some(overlay) = &record.overlay {
            record.tunnel_mtu = Some(overlay::mtu(&self.netlink, overlay).await?);
            record.tunnel = Some(self.instance.tunnel(&network.id));
        }
        sysctl::forward_ipv4().map_err(kernel("switch on IPv4 forwarding"))?;
        if record.has_ipv6() {
            sysctl::forward_ipv6().map_err(kernel("switch on IPv6 forwarding"))?;
        }
        // A network that changed its bridge's name leaves the old one behind.
        let before = self.known().networks.get(&network.id).cloned();
        if let Some(before) = before.as_ref().filter(|it| it.bridge != record.bridge) {
            self.sweeper
                .delete(&before.bridge)
                .await
                .map_err(kernel("delete an outdated bridge"))?;
        }
        // The rules come first: there is no moment in which the bridge works without them.
        self.keep_network(&record)?;
        self.change(|known| known.networks.insert(record.id.clone(), record.clone()))
            .await?;
        bridge::ensure(&self.netlink, &self.instance, &record).await?;
        // What the process before this one has told may be half told, and must be forgotten as well.
        let told = self.known().told.get(&network.id).cloned();
        let told = match (told, before.and_then(|before| before.overlay)) {
            (Some(overlay), _) => Told::Whole(overlay),
            (None, Some(overlay)) => Told::Perhaps(overlay),
            (None, None) => Told::Nothing,
        };
        let (netlink, sweeper) = (&self.netlink, &self.sweeper);
        overlay::ensure(netlink, sweeper, &self.instance, &record, told).await?;
        let mut known = self.known();
        known.told.remove(&network.id);
        known.told.extend(record.overlay.map(|it| (record.id, it)));
        Ok(())
    }

    /// Deletes the network's bridge and rules; nothing happens when they are gone already.
    pub async fn remove(&self, id: &NetworkId) -> Result<(), NetworkError> {
        self.leaving.network_left(id).await;
        let bridge = self
            .known()
            .networks
            .get(id)
            .map(|record| record.bridge.clone());
        bridge::remove(
            &self.netlink,
            &self.sweeper,
            &self.instance,
            id,
            bridge.as_deref(),
        )
        .await?;
        overlay::delete(&self.sweeper, &self.instance.tunnel(id)).await?;
        self.change(|known| {
            known.told.remove(id);
            known.networks.remove(id)
        })
        .await?;
        self.records
            .drop_network(id)
            .map_err(kernel("forget a network"))
    }

    /// Names of the networks that are here and not among the `wanted`.
    pub fn others(&self, wanted: impl Fn(&NetworkId) -> bool) -> Vec<String> {
        let known = self.known();
        let records = known.networks.values();
        records
            .filter(|record| !wanted(&record.id))
            .map(|record| record.name.clone())
            .collect()
    }

    /// Gives the container in the namespace of `pid` exactly these interfaces, and binds its ports.
    ///
    /// Call it between `create` and `start`, and again when a running container's networks change.
    /// The networks must have been ensured. On error nothing of a new connection is left. Ports
    /// that are bound already stay; they lead to the interface with the default route, or the first
    /// one that is not on an internal network. Without such an interface no port is bound. Without
    /// endpoints the container gets its loopback interface alone.
    pub async fn connect(
        self: &Arc<Self>,
        container: &ContainerId,
        pid: u32,
        endpoints: &[Endpoint<'_>],
        ports: &[PublishedPort],
    ) -> Result<Connected, NetworkError> {
        let namespace = namespace_of(pid)?;
        self.leaving.container_left(container).await;
        let places: Vec<_> = (endpoints.iter())
            .flat_map(|endpoint| {
                let addresses = endpoint.interface.addresses();
                addresses.map(|address| (endpoint.network.id.clone(), address))
            })
            .collect();
        self.leaving.places_left(&places).await;
        self.adopt(container).await?;
        let before = self.known().containers.get(container).cloned();
        let result = self
            .connect_in(container, &namespace, endpoints, ports, before.as_ref())
            .await;
        if result.is_err() && before.is_none() {
            for endpoint in endpoints {
                let veth = self.instance.veth(container, &endpoint.network.id);
                let _ = self.sweeper.delete(&veth).await;
            }
            let _ = self.disconnect(container).await;
        }
        result
    }

    /// Removes the container's ports, rules and interfaces; it may be gone already.
    ///
    /// Its ports are free and lead nowhere when this returns. The interfaces follow soon: see
    /// [`leaving`].
    pub async fn disconnect(self: &Arc<Self>, container: &ContainerId) -> Result<(), NetworkError> {
        self.leaving.container_left(container).await;
        let record = self.known().containers.get(container).cloned();
        self.want(|known| {
            known.balanced.remove(container);
            known.held.remove(container);
            known.containers.remove(container)
        });
        // Rules about interfaces that nobody uses can wait; a port may be wanted by somebody now.
        if record
            .as_ref()
            .is_some_and(|record| !record.ports.is_empty())
        {
            self.nftables.commit().await?;
        }
        // Only datagram flows outlive what they lead to.
        let with_datagrams = record.as_ref().filter(|record| {
            let mut ports = record.ports.iter();
            ports.any(|port| port.protocol == Protocol::Udp)
        });
        if let Some(record) = with_datagrams {
            let targets = record.targets();
            let _ = tokio::task::spawn_blocking(move || conntrack::forget(&targets)).await;
        }
        self.leaving.begin(container, record.as_ref());
        let (networks, container) = (Arc::clone(self), container.clone());
        tokio::spawn(async move { networks.depart(&container, record.as_ref()).await });
        Ok(())
    }

    /// Deletes the interfaces of a container that is known no longer, and then its record.
    async fn depart(&self, container: &ContainerId, record: Option<&ContainerRecord>) {
        let _departure = self.leaving.departure(container);
        let (netlink, sweeper) = (&self.netlink, &self.sweeper);
        let (removed, committed) = tokio::join!(
            connect::remove(netlink, sweeper, &self.instance, container, record),
            self.nftables.commit()
        );
        // With a record the next agent tries again, as does the container's next connection.
        let forgotten = removed.and_then(|()| Ok(committed?)).and_then(|()| {
            let forgotten = self.records.drop_container(container);
            forgotten.map_err(kernel("forget a container"))
        });
        if let Err(error) = forgotten {
            tracing::warn!(container = container.short(), %error, "its interfaces stay for now");
        }
    }

    /// Makes the virtual addresses of these networks work inside the container's namespace.
    ///
    /// Costs nothing when nothing has changed since the last call.
    pub async fn balance(
        &self,
        container: &ContainerId,
        pid: u32,
        networks: &[&AssignedNetwork],
    ) -> Result<(), NetworkError> {
        let rules = balance::rules(networks);
        let before = self.known().balanced.get(container).cloned();
        if before.as_deref().unwrap_or_default() == rules {
            return Ok(());
        }
        let namespace = namespace_of(pid)?;
        let before = before.unwrap_or_default();
        let text = balance::replace(&before, &rules);
        let gone = balance::gone(&before, &rules);
        let load = move || {
            let loaded = nftables::load_here(&text);
            conntrack::forget(&gone);
            Ok(loaded)
        };
        namespace
            .run(load)
            .await
            .map_err(kernel("enter the container's network namespace"))??;
        self.known().balanced.insert(container.clone(), rules);
        Ok(())
    }

    /// Makes the packets of a running container fit through the tunnels that its networks have got
    /// meanwhile.
    pub async fn fit(&self, container: &ContainerId, pid: u32) -> Result<(), NetworkError> {
        let interfaces: Vec<(String, String, u32)> = {
            let known = self.known();
            let record = known.containers.get(container);
            let interfaces = record.into_iter().flat_map(|record| &record.interfaces);
            let sized = interfaces.filter_map(|interface| {
                let network = known.networks.get(&interface.network)?;
                network.tunnel_mtu?;
                let size = network.packet_size()?;
                Some((interface.veth.clone(), interface.name.clone(), size))
            });
            sized.collect()
        };
        if interfaces.is_empty() {
            return Ok(());
        }
        let namespace = namespace_of(pid)?;
        let inside = namespace.run(Netlink::open).await;
        let inside = inside.map_err(kernel("enter the container's network namespace"))?;
        for (veth, name, size) in interfaces {
            for (netlink, name) in [(&self.netlink, veth), (&inside, name)] {
                let link = netlink.link(&name).await;
                let link = link.map_err(kernel(format!("look up interface `{name}`")))?;
                if let Some(link) = link.filter(|link| link.mtu != size) {
                    let set = netlink.set_mtu(link.index, size).await;
                    set.map_err(kernel(format!("set the packet size of `{name}`")))?;
                }
            }
        }
        Ok(())
    }

    /// Fails with [`NetworkError::PortInUse`] when one of the ports could not be bound now. A port
    /// that is held for its service is no hindrance.
    pub async fn check_ports(&self, ports: &[PublishedPort]) -> Result<(), NetworkError> {
        let _binding = self.binding();
        let ours = |port: &&PublishedPort| self.known().shared.has(port);
        let mut others = ports.iter().filter(|port| !ours(port));
        others.try_for_each(|port| {
            // The first one decides: whether it will be on `::` too depends on the networks.
            let address = ports::host_addresses(port.host_ip).into_iter().take(1);
            self.hold(port, &address.collect::<Vec<_>>()).map(drop)
        })
    }

    /// Takes over a running container that an earlier agent connected: binds its ports again.
    ///
    /// `None` when nothing is known of it. A port that somebody took meanwhile is left to the rules,
    /// which still lead to the container, and logged.
    pub async fn adopt(&self, container: &ContainerId) -> Result<Option<Connected>, NetworkError> {
        let mut known = self.known();
        let Some(record) = known.containers.get(container) else {
            return Ok(None);
        };
        let ports = record.ports.clone();
        if !known.held.contains_key(container) {
            let mut held = Vec::new();
            for port in &ports {
                match ports::hold_again(port) {
                    Ok(ports) => held.extend(ports),
                    Err(error) => {
                        tracing::warn!(container = container.short(), %error, "a published port is not held")
                    }
                }
            }
            known.held.insert(container.clone(), held);
            known.lead();
        }
        Ok(Some(Connected { ports }))
    }

    /// Whether the network is set up here just as it is asked for; otherwise `ensure` is due.
    ///
    /// Names and virtual addresses do not count.
    pub fn is_current(&self, network: &AssignedNetwork) -> bool {
        let known = self.known();
        let Some(record) = known.networks.get(&network.id) else {
            return false;
        };
        let bridge = network.bridge_name.as_ref().unwrap_or(&record.bridge);
        let mut wanted = NetworkRecord::new(network, bridge.clone());
        wanted.tunnel_mtu = record.tunnel_mtu;
        wanted.tunnel.clone_from(&record.tunnel);
        *record == wanted
    }

    /// What on this host is in the way of its networks, as sentences for people.
    pub async fn warnings(&self) -> Vec<String> {
        foreign::warning(&nftables::list(&foreign::TABLE).await)
            .into_iter()
            .collect()
    }

    /// Containers that have something here; those that do not run any more are to be disconnected.
    pub fn containers(&self) -> Vec<ContainerId> {
        self.known().containers.keys().cloned().collect()
    }

    fn binding(&self) -> MutexGuard<'_, ()> {
        self.binding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and returns when the firewall follows it.
    async fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> Result<T, NetworkError> {
        let result = self.want(change);
        self.nftables.commit().await?;
        Ok(result)
    }

    /// Changes what is known; the firewall follows with the next commit, whosever it is.
    fn want<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known();
        let result = change(&mut known);
        known.lead();
        self.nftables.want(known.firewall());
        result
    }

    /// Everything of a network that ends in rule text or a kernel object is checked here.
    fn check_network(&self, network: &AssignedNetwork) -> Result<NetworkRecord, NetworkError> {
        let bridge = match &network.bridge_name {
            Some(name) => name.clone(),
            None => self.instance.bridge(&network.id),
        };
        if !address::is_interface_name(&bridge) {
            return Err(NetworkError::InvalidName { name: bridge });
        }
        let record = NetworkRecord::new(network, bridge);
        if record.has_ipv6() && !has_ipv6() {
            return Err(NetworkError::NoIpv6 {
                network: record.name,
            });
        }
        for (gateway, subnet) in record.gateways().zip(record.subnets()) {
            if !subnet.contains(&gateway) {
                return Err(NetworkError::GatewayOutside { gateway, subnet });
            }
            if let Some(other) = self.known().overlapping(&record.id, subnet) {
                return Err(NetworkError::Overlap { subnet, other });
            }
        }
        Ok(record)
    }

    fn keep_network(&self, record: &NetworkRecord) -> Result<(), NetworkError> {
        if self.known().networks.get(&record.id) == Some(record) {
            return Ok(());
        }
        self.records
            .keep_network(record)
            .map_err(kernel("record a network"))
    }

    /// Binds a port, naming our own container when that has it.
    fn hold(
        &self,
        wanted: &PublishedPort,
        addresses: &[IpAddr],
    ) -> Result<Vec<Held>, NetworkError> {
        let error = match ports::hold(wanted, addresses) {
            Err(NetworkError::PortInUse {
                host_ip,
                port,
                protocol,
                holder,
            }) => {
                let known = self.known();
                let ours = known.containers.values().find(|record| {
                    known.held.contains_key(&record.id)
                        && record
                            .ports
                            .iter()
                            .any(|bound| (bound.port, bound.protocol) == (port, protocol))
                });
                let holder = ours.map_or(holder, |record| PortHolder::Container(record.id.clone()));
                NetworkError::PortInUse {
                    host_ip,
                    port,
                    protocol,
                    holder,
                }
            }
            result => return result,
        };
        Err(error)
    }
}

impl Known {
    fn firewall(&self) -> Firewall {
        Firewall::of(
            &self.networks,
            &self.containers,
            self.shared.ports(),
            self.ways,
        )
    }

    /// Aims what cannot be redirected at the containers that have the ports.
    fn lead(&mut self) {
        self.shared.lead();
        for (container, held) in &mut self.held {
            let targets = self.containers.get(container).map(|it| it.targets());
            for held in held {
                held.lead_to(targets.as_deref().unwrap_or_default());
            }
        }
    }

    /// The name of another network here that has a part of the subnet.
    fn overlapping(&self, id: &NetworkId, subnet: IpNet) -> Option<String> {
        let overlaps = |it: IpNet| it.contains(&subnet) || subnet.contains(&it);
        let mut others = self.networks.values().filter(|other| other.id != *id);
        let other = others.find(|other| other.subnets().any(overlaps))?;
        Some(other.name.clone())
    }

    /// The records of other containers that still name one of these ports, without them.
    ///
    /// Whoever could bind a port has it: a record that says otherwise is of a container that ended
    /// while no agent was looking. Two of them would make rules that the kernel refuses.
    fn without(&self, container: &ContainerId, ports: &[BoundPort]) -> Vec<ContainerRecord> {
        let same = |a: &BoundPort, b: &BoundPort| {
            (a.host_ip, a.port, a.protocol) == (b.host_ip, b.port, b.protocol)
        };
        let taken = |port: &BoundPort| ports.iter().any(|new| same(port, new));
        let others = self
            .containers
            .values()
            .filter(|other| other.id != *container);
        others
            .filter(|other| other.ports.iter().any(taken))
            .map(|other| {
                let mut other = other.clone();
                other.ports.retain(|port| !taken(port));
                other
            })
            .collect()
    }
}

/// The namespace of a container's process; never our own, which would be changed for the worse.
fn namespace_of(pid: u32) -> Result<NetworkNamespace, NetworkError> {
    let namespace =
        NetworkNamespace::of(pid).map_err(|source| NetworkError::NoNamespace { pid, source })?;
    match namespace.is_ours() {
        Ok(false) => Ok(namespace),
        Ok(true) => Err(NetworkError::HostNamespace { pid }),
        Err(source) => Err(NetworkError::NoNamespace { pid, source }),
    }
}

#[cfg(test)]
mod tests;
