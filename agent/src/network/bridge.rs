//! Bridges: one per network, with the gateway's address.

use ipnet::Ipv4Net;
use scheduler::model::id::NetworkId;

use super::address::{Instance, gateway_mac};
use super::netlink::{Link, Netlink};
use super::record::NetworkRecord;
use super::sweep::Sweeper;
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
    settings(name).map_err(kernel(format!("configure bridge `{name}`")))?;
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
    netlink
        .add_bridge(name, gateway_mac(network.gateway), network.packet_size())
        .await
        .map_err(kernel(action))?;
    let unknown = || NetworkError::UnknownNetwork {
        network: network.name.clone(),
    };
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
    let prefix = network.subnet.prefix_len();
    let found = netlink
        .addresses(link.index)
        .await
        .map_err(kernel("list addresses"))?;
    let own = network.overlay.as_ref().and_then(|overlay| overlay.address);
    // The gateway's comes first: it is the one that the host speaks with.
    let wanted = [Some(network.gateway), own].into_iter().flatten();
    let wanted: Vec<Ipv4Net> = wanted
        .filter_map(|it| Ipv4Net::new(it, prefix).ok())
        .collect();
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
            .add_address(link.index, address.addr(), prefix)
            .await
            .map_err(kernel(format!(
                "give `{}` the address {address}",
                link.name
            )))?;
    }
    Ok(())
}

/// What must hold before the bridge comes up.
fn settings(bridge: &str) -> std::io::Result<()> {
    let set = |family: &str, key: &str, value: &str| {
        match std::fs::write(format!("/proc/sys/net/{family}/conf/{bridge}/{key}"), value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if family == "ipv6" && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(())
            }
            result => result,
        }
    };
    // Else a container could change the host's routes (CVE-2020-13401), or get around the rules.
    set("ipv6", "accept_ra", "0")?;
    set("ipv6", "disable_ipv6", "1")?;
    // The host reaches published ports at 127.0.0.1 too. Forged loopback packets from containers
    // are dropped by our first chain.
    set("ipv4", "route_localnet", "1")
}
