//! What a later agent must know, one small file each: networks, connected containers, and the ports
//! that the node answers on for services.
//!
//! The kernel keeps bridges, interfaces and rules when the agent dies; these files say what they
//! are for. They hold for one boot only: the first agent after a reboot empties the directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use scheduler::assignment::{AssignedNetwork, AssignedOverlay, SharedPort};
use scheduler::model::id::{ContainerId, NetworkId};
use scheduler::model::network::Ipv6Subnet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::BoundPort;
use super::address::link_local;

/// The part of a network that becomes kernel objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkRecord {
    pub(super) id: NetworkId,
    pub(super) name: String,
    pub(super) bridge: String,
    pub(super) subnet: IpNet,
    pub(super) gateway: IpAddr,
    #[serde(default)]
    pub(super) ipv6: Option<Ipv6Subnet>,
    pub(super) internal: bool,
    pub(super) inter_container: bool,
    pub(super) masquerade: bool,
    pub(super) mtu: Option<u32>,
    #[serde(default)]
    pub(super) overlay: Option<AssignedOverlay>,
    /// The name of the tunnels' interface.
    #[serde(default)]
    pub(super) tunnel: Option<String>,
    /// Bytes that fit through the tunnels; found out when they are made.
    #[serde(default)]
    pub(super) tunnel_mtu: Option<u32>,
}

impl NetworkRecord {
    pub(super) fn new(network: &AssignedNetwork, bridge: String) -> Self {
        Self {
            id: network.id.clone(),
            name: network.name.clone(),
            bridge,
            subnet: network.subnet.trunc(),
            gateway: network.gateway,
            ipv6: network.ipv6,
            internal: network.internal,
            inter_container: network.inter_container,
            masquerade: network.masquerade,
            mtu: network.mtu,
            overlay: network.overlay.clone(),
            tunnel: None,
            tunnel_mtu: None,
        }
    }

    /// Its subnets, one of each family that it has.
    pub(super) fn subnets(&self) -> impl Iterator<Item = IpNet> {
        let beside = self.ipv6.map(|it| IpNet::V6(it.subnet.trunc()));
        std::iter::once(self.subnet).chain(beside)
    }

    /// The gateways in them.
    pub(super) fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let beside = self.ipv6.map(|it| IpAddr::V6(it.gateway));
        std::iter::once(self.gateway).chain(beside)
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.gateways().any(|it| it.is_ipv6())
    }

    /// The size of packets on this network; the host's default when absent.
    pub(super) fn packet_size(&self) -> Option<u32> {
        match (self.mtu, self.tunnel_mtu) {
            (Some(chosen), Some(fits)) => Some(chosen.min(fits)),
            (chosen, fits) => chosen.or(fits),
        }
    }
}

/// What a container has here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) id: ContainerId,
    pub(super) interfaces: Vec<InterfaceRecord>,
    /// The address to which the published ports lead: IPv4, if it has one.
    pub(super) forward_to: Option<IpAddr>,
    /// The same for IPv6, beside an IPv4 one.
    #[serde(default)]
    pub(super) forward_to_ipv6: Option<Ipv6Addr>,
    pub(super) ports: Vec<BoundPort>,
}

impl ContainerRecord {
    /// Where a port on this address of the host leads.
    pub(super) fn target(&self, host: IpAddr) -> Option<IpAddr> {
        let targets = self.targets();
        targets
            .into_iter()
            .find(|it| it.is_ipv4() == host.is_ipv4())
    }

    pub(super) fn targets(&self) -> Vec<IpAddr> {
        let beside = self.forward_to_ipv6.map(IpAddr::V6);
        self.forward_to.into_iter().chain(beside).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterfaceRecord {
    pub(super) network: NetworkId,
    /// The host's end.
    pub(super) veth: String,
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// Beside an IPv4 address.
    #[serde(default)]
    pub(super) ipv6: Option<Ipv6Addr>,
    /// Further ones.
    #[serde(default)]
    pub(super) link_local: Vec<IpAddr>,
    pub(super) mac: String,
}

impl InterfaceRecord {
    /// All that it may speak for, with the one that the kernel makes from its hardware address.
    pub(super) fn addresses(&self, mac: [u8; 6]) -> Vec<IpAddr> {
        let mut addresses = self.places();
        addresses.extend(&self.link_local);
        if addresses.iter().any(IpAddr::is_ipv6) {
            addresses.push(link_local(mac).into());
        }
        addresses
    }

    /// Its addresses on the network.
    pub(super) fn places(&self) -> Vec<IpAddr> {
        let beside = self.ipv6.map(IpAddr::V6);
        std::iter::once(self.address).chain(beside).collect()
    }
}

/// The directory of records.
pub(super) struct Records {
    networks: PathBuf,
    containers: PathBuf,
    services: PathBuf,
}

/// The name of the record of [`Records::keep_published`].
const PUBLISHED: &str = "published";

impl Records {
    /// Opens the directory; one of an earlier boot is emptied first.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let records = Self {
            networks: root.join("networks"),
            containers: root.join("containers"),
            services: root.join("services"),
        };
        if fs::read_to_string(root.join("boot_id")).ok().as_deref() != Some(&boot) {
            for directory in [&records.networks, &records.containers, &records.services] {
                match fs::remove_dir_all(directory) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        fs::create_dir_all(&records.networks)?;
        fs::create_dir_all(&records.containers)?;
        fs::create_dir_all(&records.services)?;
        fs::write(root.join("boot_id"), boot)?;
        Ok(records)
    }

    pub(super) fn networks(&self) -> io::Result<BTreeMap<NetworkId, NetworkRecord>> {
        let records: Vec<NetworkRecord> = read_all(&self.networks)?;
        Ok(records
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect())
    }

    pub(super) fn containers(&self) -> io::Result<BTreeMap<ContainerId, ContainerRecord>> {
        let records: Vec<ContainerRecord> = read_all(&self.containers)?;
        Ok(records
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect())
    }

    /// The ports that the node answered on for services.
    pub(super) fn published(&self) -> io::Result<Vec<SharedPort>> {
        let records: Vec<Vec<SharedPort>> = read_all(&self.services)?;
        Ok(records.into_iter().flatten().collect())
    }

    pub(super) fn keep_published(&self, ports: &[SharedPort]) -> io::Result<()> {
        match ports {
            [] => remove(&self.services, PUBLISHED),
            ports => write(&self.services, PUBLISHED, &ports),
        }
    }

    pub(super) fn keep_network(&self, record: &NetworkRecord) -> io::Result<()> {
        write(&self.networks, record.id.as_str(), record)
    }

    pub(super) fn keep_container(&self, record: &ContainerRecord) -> io::Result<()> {
        write(&self.containers, record.id.as_str(), record)
    }

    pub(super) fn drop_network(&self, id: &NetworkId) -> io::Result<()> {
        remove(&self.networks, id.as_str())
    }

    pub(super) fn drop_container(&self, id: &ContainerId) -> io::Result<()> {
        remove(&self.containers, id.as_str())
    }
}

fn read_all<T: DeserializeOwned>(directory: &Path) -> io::Result<Vec<T>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match serde_json::from_slice(&fs::read(&path)?) {
            Ok(record) => records.push(record),
            // Written by rename, so it is of another version: what it describes is made again.
            Err(error) => tracing::warn!(path = %path.display(), %error, "ignoring a record"),
        }
    }
    Ok(records)
}

/// Replaces a record at once; it need not survive a power cut, which takes what it describes too.
fn write(directory: &Path, id: &str, record: &impl Serialize) -> io::Result<()> {
    let path = file(directory, id)?;
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(record)?)?;
    fs::rename(&temporary, &path)
}

fn remove(directory: &Path, id: &str) -> io::Result<()> {
    match fs::remove_file(file(directory, id)?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn file(directory: &Path, id: &str) -> io::Result<PathBuf> {
    if id.is_empty()
        || !id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{id}` is no identifier"),
        ));
    }
    Ok(directory.join(format!("{id}.json")))
}
