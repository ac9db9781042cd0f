//! The few things that are asked of rtnetlink, each one round trip to the kernel.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkMessage, State,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan,
    RouteMessageBuilder,
};
use tokio::sync::Mutex;

/// A netlink socket in one network namespace.
pub(super) struct Netlink {
    handle: Handle,
    /// Held while a list is read: the kernel refuses a second one on the same socket (EBUSY).
    ///
    /// Source: Linux `net/netlink/af_netlink.c`, `__netlink_dump_start`.
    lists: Mutex<()>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) alias: Option<String>,
    /// Bytes.
    pub(super) mtu: u32,
}

/// A tunnel end on a bridge.
#[derive(Debug)]
pub(super) struct Tunnel<'a> {
    pub(super) name: &'a str,
    pub(super) alias: String,
    pub(super) vni: u32,
    /// UDP port (RFC 7348).
    pub(super) port: u16,
    pub(super) local: IpAddr,
    /// Index of the bridge.
    pub(super) bridge: u32,
    pub(super) isolation: Isolation,
    pub(super) mtu: u32,
}

/// A pair of interfaces: one end on a bridge here, the other in a container.
#[derive(Debug)]
pub(super) struct VethPair<'a> {
    pub(super) host_name: &'a str,
    pub(super) alias: String,
    /// Index of the bridge.
    pub(super) bridge: u32,
    pub(super) isolation: Isolation,
    pub(super) name: &'a str,
    pub(super) mac: [u8; 6],
    pub(super) mtu: Option<u32>,
}

/// Where an address on another node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) address: IpAddr,
    pub(super) mac: [u8; 6],
    /// Where that node's tunnels end.
    pub(super) node: IpAddr,
}

/// Whether a port of a bridge reaches other ports, or only the bridge itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    Open,
    Isolated,
}

impl Netlink {
    /// A socket in the namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        // Ends by itself when the handle is dropped.
        tokio::spawn(connection);
        Ok(Self {
            handle,
            lists: Mutex::default(),
        })
    }

    /// The interface of that name; `None` when there is none.
    pub(super) async fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut links = self
            .handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute();
        match links.try_next().await.map_err(into_io) {
            Ok(link) => Ok(link.map(read_link)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the interface carries packets: some time after both ends of a pair are up, a task
    /// of the kernel notices, and only then does the bridge forward.
    pub(super) async fn is_operating(&self, name: &str) -> io::Result<bool> {
        let mut links = self
            .handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute();
        let link = links.try_next().await.map_err(into_io)?;
        let mut attributes = link.iter().flat_map(|link| &link.attributes);
        Ok(attributes.any(|attribute| matches!(attribute, LinkAttribute::OperState(State::Up))))
    }

    /// All interfaces.
    pub(super) async fn links(&self) -> io::Result<Vec<Link>> {
        let _list = self.lists.lock().await;
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(into_io)?;
        Ok(links.into_iter().map(read_link).collect())
    }

    /// Makes a bridge, still down.
    pub(super) async fn add_bridge(
        &self,
        name: &str,
        mac: [u8; 6],
        mtu: Option<u32>,
    ) -> io::Result<()> {
        // Snooping of group traffic only costs timers here: there is no IPv6 and hardly any multicast.
        let mut bridge = LinkMessageBuilder::<LinkBridge>::new(name)
            .append_info_data(InfoBridge::MulticastSnooping(false))
            .address(mac.to_vec());
        if let Some(mtu) = mtu {
            bridge = bridge.mtu(mtu);
        }
        self.handle
            .link()
            .add(bridge.build())
            .execute()
            .await
            .map_err(into_io)
    }

    /// Says whose the interface is, and brings it up.
    pub(super) async fn claim(
        &self,
        index: u32,
        alias: String,
        mtu: Option<u32>,
    ) -> io::Result<()> {
        let mut link = LinkUnspec::new_with_index(index).alias(alias).up();
        if let Some(mtu) = mtu {
            link = link.mtu(mtu);
        }
        self.handle
            .link()
            .change(link.build())
            .execute()
            .await
            .map_err(into_io)
    }

    pub(super) async fn set_up(&self, index: u32) -> io::Result<()> {
        let link = LinkUnspec::new_with_index(index).up().build();
        self.handle
            .link()
            .change(link)
            .execute()
            .await
            .map_err(into_io)
    }

    /// Makes both ends at once: the far one is born in the namespace, under its final name.
    pub(super) async fn add_veth(&self, pair: &VethPair<'_>, namespace: RawFd) -> io::Result<()> {
        let peer = far_end(pair, namespace);
        let mut near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.host_name)
            .controller(pair.bridge)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up();
        if let Some(mtu) = pair.mtu {
            near = near.mtu(mtu);
        }
        self.handle
            .link()
            .add(near.build())
            .execute()
            .await
            .map_err(into_io)?;
        // Neither an alias nor a port's options can be given at birth.
        let isolated = pair.isolation == Isolation::Isolated;
        let port = LinkUnspec::new_with_name(pair.host_name)
            .alias(pair.alias.clone())
            .set_port_kind(InfoPortKind::Bridge)
            .set_port_data(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(
                isolated,
            )]))
            .build();
        self.handle
            .link()
            .change(port)
            .execute()
            .await
            .map_err(into_io)
    }

    /// Makes a tunnel end that knows only the ways it is told: it neither learns nor floods, and
    /// answers questions for hardware addresses (ARP) itself.
    pub(super) async fn add_tunnel(&self, tunnel: &Tunnel<'_>) -> io::Result<()> {
        let link = LinkVxlan::new(tunnel.name, tunnel.vni)
            .port(tunnel.port)
            .learning(false)
            .proxy(true);
        let link = match tunnel.local {
            IpAddr::V4(local) => link.local(local),
            IpAddr::V6(local) => link.local6(local),
        };
        let link = link.mtu(tunnel.mtu).controller(tunnel.bridge).up().build();
        self.handle
            .link()
            .add(link)
            .execute()
            .await
            .map_err(into_io)?;
        let options = vec![
            InfoBridgePort::Learning(false),
            InfoBridgePort::Isolated(tunnel.isolation == Isolation::Isolated),
        ];
        let port = LinkUnspec::new_with_name(tunnel.name)
            .alias(tunnel.alias.clone())
            .set_port_kind(InfoPortKind::Bridge)
            .set_port_data(InfoPortData::BridgePort(options))
            .build();
        self.handle
            .link()
            .change(port)
            .execute()
            .await
            .map_err(into_io)
    }

    /// Tells a tunnel where an address on another node is.
    pub(super) async fn add_way(&self, tunnel: u32, way: &Way) -> io::Result<()> {
        let neighbours = self.handle.neighbours();
        let results = [
            neighbours
                .add_bridge(tunnel, &way.mac)
                .destination(way.node)
                .flags(NeighbourFlags::Own)
                .replace()
                .execute()
                .await,
            neighbours
                .add_bridge(tunnel, &way.mac)
                .state(NeighbourState::Noarp)
                .flags(NeighbourFlags::Controller)
                .replace()
                .execute()
                .await,
            neighbours
                .add(tunnel, way.address)
                .link_layer_address(&way.mac)
                .replace()
                .execute()
                .await,
        ];
        results.into_iter().try_for_each(|it| it.map_err(into_io))
    }

    /// Forgets where an address is; it may be forgotten already.
    pub(super) async fn delete_way(&self, tunnel: u32, way: &Way) -> io::Result<()> {
        let entry = |flags| {
            let mut message = NeighbourMessage::default();
            message.header.family = AddressFamily::Bridge;
            message.header.ifindex = tunnel;
            message.header.flags = flags;
            let mac = NeighbourAttribute::LinkLayerAddress(way.mac.to_vec());
            message.attributes.push(mac);
            message
        };
        let mut neighbour = NeighbourMessage::default();
        let (family, address) = match way.address {
            IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
            IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
        };
        neighbour.header.family = family;
        neighbour.header.ifindex = tunnel;
        neighbour
            .attributes
            .push(NeighbourAttribute::Destination(address));
        let messages = [
            neighbour,
            entry(NeighbourFlags::Controller),
            entry(NeighbourFlags::Own),
        ];
        for message in messages {
            match self.handle.neighbours().del(message).execute().await {
                Err(error) if !is_gone(&error) => return Err(into_io(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets a bridge take packets to this hardware address for its own.
    pub(super) async fn add_own_mac(&self, bridge: u32, mac: [u8; 6]) -> io::Result<()> {
        let neighbours = self.handle.neighbours();
        let added = neighbours
            .add_bridge(bridge, &mac)
            .flags(NeighbourFlags::Own)
            .replace()
            .execute();
        added.await.map_err(into_io)
    }

    /// The size of packets on the interface that has an address of this host.
    pub(super) async fn mtu_at(&self, address: IpAddr) -> io::Result<Option<u32>> {
        let index = self.index_at(address).await?;
        let links = self.links().await?;
        let link = links.into_iter().find(|link| Some(link.index) == index);
        Ok(link.map(|link| link.mtu))
    }

    /// The interface that has an address of this host.
    async fn index_at(&self, address: IpAddr) -> io::Result<Option<u32>> {
        let _list = self.lists.lock().await;
        let addresses = self.handle.address();
        let mut dump = addresses.get().set_address_filter(address).execute();
        let mut index = None;
        while let Some(message) = dump.try_next().await.map_err(into_io)? {
            index = index.or(Some(message.header.index));
        }
        Ok(index)
    }

    pub(super) async fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let link = LinkUnspec::new_with_index(index).mtu(mtu).build();
        self.handle
            .link()
            .change(link)
            .execute()
            .await
            .map_err(into_io)
    }

    /// The addresses of an interface, without those that the kernel made itself.
    pub(super) async fn addresses(&self, index: u32) -> io::Result<Vec<IpNet>> {
        let mut addresses = Vec::new();
        let _list = self.lists.lock().await;
        let mut dump = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute();
        while let Some(message) = dump.try_next().await.map_err(into_io)? {
            // Old kernels ignore the filter.
            if message.header.index == index {
                addresses.extend(read_address(&message));
            }
        }
        Ok(addresses)
    }

    pub(super) async fn delete_address(&self, index: u32, address: IpNet) -> io::Result<()> {
        let length = address.prefix_len();
        let message = match address.addr() {
            IpAddr::V4(it) => AddressMessageBuilder::<Ipv4Addr>::new()
                .index(index)
                .address(it, length)
                .build(),
            IpAddr::V6(it) => AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(it, length)
                .build(),
        };
        self.handle
            .address()
            .del(message)
            .execute()
            .await
            .map_err(into_io)
    }

    /// Adds an address; it may be there already. It works at once: nobody is asked whether somebody
    /// else has it.
    pub(super) async fn add_address(&self, index: u32, address: IpNet) -> io::Result<()> {
        let addresses = self.handle.address();
        let mut request = addresses.add(index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
        }
        match request.execute().await.map_err(into_io) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }

    pub(super) async fn add_default_route(&self, gateway: IpAddr) -> io::Result<()> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .build(),
        };
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(into_io)
    }
}

fn read_address(message: &AddressMessage) -> Option<IpNet> {
    let address = message.attributes.iter().find_map(|it| match it {
        AddressAttribute::Local(address) => Some(*address),
        // Of IPv6 there is no local one.
        AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
        _ => None,
    })?;
    if matches!(address, IpAddr::V6(it) if it.is_unicast_link_local()) {
        return None;
    }
    IpNet::new(address, message.header.prefix_len).ok()
}

/// The container's end of a pair.
fn far_end(pair: &VethPair<'_>, namespace: RawFd) -> LinkMessage {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(pair.name)
        .address(pair.mac.to_vec())
        .setns_by_fd(namespace);
    if let Some(mtu) = pair.mtu {
        peer = peer.mtu(mtu);
    }
    let mut peer = peer.build();
    peer.header.flags.remove(LinkFlags::Up);
    peer
}

fn read_link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        mtu: 0,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            _ => {}
        }
    }
    link
}

fn is_gone(error: &rtnetlink::Error) -> bool {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return false;
    };
    matches!(
        message.to_io().raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::ESRCH)
    )
}

/// The kernel's error number where there is one, so that callers can tell cases apart.
fn into_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
