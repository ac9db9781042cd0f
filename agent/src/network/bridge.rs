//! Bridges: one per network, with the gateway's address.

use ipnet::IpNet;
use scheduler::model::id::NetworkId;

use super::address::{Instance, gateway_mac};
use super::netlink::{Link, Netlink};
use super::record::NetworkRecord;
use super::sweep::Sweeper;
use super::sysctl::{self, Ipv6};
use super::{NetworkError, ObservedNetwork, kernel};

/// Our bridges, found by their aliases.
pub(super) async fn observe(
    netlink: &Netlink,
    instance: &Instance,
) -> Result<Vec<ObservedNetwork>, NetworkError> {
    let mut observed = Vec::new();
    for link in netlink.links().await.map_err(kernel("list interfaces"))? {
        // Tunnels and the host's ends of containers' interfaces have aliases too.
        let owner = link
            .alias
            .as_deref()
            .and_then(|alias| instance.owner(alias));
        let of_bridge = !link.name.starts_with("whv") && !link.name.starts_with("whx");
        let Some(id) = owner.filter(|_| of_bridge) else {
            continue;
        };
        let addresses = netlink
            .addresses(link.index)
            .await
            .map_err(kernel("list addresses"))?;
        observed.push(ObservedNetwork {
            id: NetworkId::new(id),
            address: addresses.first().copied(),
            bridge: link.name,
        });
    }
    Ok(observed)
}

/// Makes the bridge, or repairs it.
pub(super) async fn ensure(
    netlink: &Netlink,
    instance: &Instance,
    network: &NetworkRecord,
) -> Result<(), NetworkError> {
    let name = &network.bridge;
    let link = match find(netlink, name).await? {
        Some(link) if is_of(&link, instance, &network.id) => link,
        Some(_) => {
            return Err(NetworkError::BridgeTaken {
                bridge: name.clone(),
            });
        }
        None => make(netlink, network).await?,
    };
    settings(network).map_err(kernel(format!("configure bridge `{name}`")))?;
    address(netlink, &link, network).await?;
    netlink
        .claim(
            link.index,
            instance.alias(network.id.as_str()),
            network.packet_size(),
        )
        .await
        .map_err(kernel(format!("bring up bridge `{name}`")))
}

/// Deletes the network's bridge, also one that no record tells of.
pub(super) async fn remove(
    netlink: &Netlink,
    sweeper: &Sweeper,
    instance: &Instance,
    id: &NetworkId,
    recorded: Option<&str>,
) -> Result<(), NetworkError> {
    let derived = instance.bridge(id);
    for name in [recorded.unwrap_or(&derived), &derived] {
        let Some(link) = find(netlink, name).await? else {
            continue;
        };
        // A bridge that somebody else made under the name the user chose stays.
        if is_of(&link, instance, id) {
            sweeper
                .delete(name)
                .await
                .map_err(kernel(format!("delete bridge `{name}`")))?;
        }
    }
    Ok(())
}

/// Whether the bridge is ours and of this network.
fn is_of(link: &Link, instance: &Instance, id: &NetworkId) -> bool {
    match &link.alias {
        Some(alias) => instance.owner(alias) == Some(id.as_str()),
        // Nobody but us makes the derived name; a crash may have come before the alias.
        None => link.name == instance.bridge(id),
    }
}

async fn make(netlink: &Netlink, network: &NetworkRecord) -> Result<Link, NetworkError> {
    let name = &network.bridge;
    let action = format!("make bridge `{name}`");
    let unknown = || NetworkError::UnknownNetwork {
        network: network.name.clone(),
    };
    let mac = gateway_mac(network.gateway).ok_or_else(unknown)?;
    let made = netlink.add_bridge(name, mac, network.packet_size()).await;
    made.map_err(kernel(action))?;
    find(netlink, name).await?.ok_or_else(unknown)
}

async fn find(netlink: &Netlink, name: &str) -> Result<Option<Link>, NetworkError> {
    netlink
        .link(name)
        .await
        .map_err(kernel(format!("look up interface `{name}`")))
}

/// Leaves the bridge with the gateway's address, and this node's own where it has one.
async fn address(
    netlink: &Netlink,
    link: &Link,
    network: &NetworkRecord,
) -> Result<(), NetworkError> {
    let found = netlink
        .addresses(link.index)
        .await
        .map_err(kernel("list addresses"))?;
    // The gateway's comes first: it is the one that the host speaks with.
    let overlay = network.overlay.as_ref();
    let wanted = network.gateways().zip(network.subnets());
    let wanted = wanted.flat_map(|(gateway, subnet)| {
        let own = overlay.and_then(|it| it.address_like(gateway));
        let addresses = std::iter::once(gateway).chain(own);
        addresses.filter_map(move |it| IpNet::new(it, subnet.prefix_len()).ok())
    });
    let wanted: Vec<IpNet> = wanted.collect();
    for other in found.iter().filter(|found| !wanted.contains(found)) {
        netlink
            .delete_address(link.index, *other)
            .await
            .map_err(kernel(format!(
                "remove address {other} from `{}`",
                link.name
            )))?;
    }
    for address in wanted.iter().filter(|wanted| !found.contains(wanted)) {
        netlink
            .add_address(link.index, *address)
            .await
            .map_err(kernel(format!(
                "give `{}` the address {address}",
                link.name
            )))?;
    }
    Ok(())
}

/// What must hold before the bridge comes up.
fn settings(network: &NetworkRecord) -> std::io::Result<()> {
    let bridge = &network.bridge;
    let ipv6 = if network.has_ipv6() {
        Ipv6::Told
    } else {
        Ipv6::Off
    };
    sysctl::set_ipv6(bridge, ipv6)?;
    // The host reaches published ports at 127.0.0.1 too. Forged loopback packets from containers
    // are dropped by our first chain.
    sysctl::set_ipv4(bridge, "route_localnet", "1")?;
    // Clients who came by another node send from addresses whose way leads elsewhere.
    sysctl::accept_any_source(bridge)
}
