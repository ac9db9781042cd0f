//! Networks, volumes, secrets, configs and nodes: made and removed by name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::command::Reply;
use super::refusal::Refusal;
use crate::model::container::NetworkMode;
use crate::model::network::{Ipv6Subnet, Network, NetworkSpec};
use crate::model::service::Service;
use crate::model::stack::{ContentSpec, StoredContent};
use crate::model::task::DesiredState;
use crate::model::volume::{Volume, VolumeSpec};
use crate::reconcile::allocate::subnet;
use crate::reconcile::slot;
use crate::state::{Change, Draft, State};

/// The network of containers that ask for none, as Docker calls it.
pub(super) const BRIDGE: &str = "bridge";
/// Names that are modes, not networks.
const MODES: [&str; 3] = ["host", "none", "default"];

/// Secrets or configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Config,
}

pub(super) const SECRET: Kind = Kind::Secret;
pub(super) const CONFIG: Kind = Kind::Config;

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    fn get(self, state: &State, name: &str) -> Option<Arc<StoredContent>> {
        match self {
            Self::Secret => state.secrets.get(name).cloned(),
            Self::Config => state.configs.get(name).cloned(),
        }
    }

    fn set(self, content: StoredContent) -> Change {
        match self {
            Self::Secret => Change::SetSecret(Arc::new(content)),
            Self::Config => Change::SetConfig(Arc::new(content)),
        }
    }

    fn is_granted(self, service: &Service, name: &str) -> bool {
        let container = &service.spec.container;
        let grants = match self {
            Self::Secret => &container.secrets,
            Self::Config => &container.configs,
        };
        grants.iter().any(|grant| grant.source == name)
    }
}

/// Says whose something is: ``service `web` of stack `shop` ``, ``container `db` ``.
pub(super) fn describe(service: &Service) -> String {
    match &service.stack {
        Some(stack) => format!("service `{}` of stack `{stack}`", service.spec.name),
        None => format!("container `{}`", service.spec.name),
    }
}

/// The network of containers that ask for none, made with the first node.
pub(super) fn bring_bridge(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    if draft.state().network_named(BRIDGE).is_none() {
        let spec = NetworkSpec {
            name: BRIDGE.to_owned(),
            subnet: subnet::choose_for_bridge(draft.state()),
            ..NetworkSpec::default()
        };
        add_network(draft, None, spec)?;
    }
    Ok(())
}

/// The service with a container of this name, or that will have one.
pub(super) fn name_holder<'a>(state: &'a State, name: &str) -> Option<&'a Arc<Service>> {
    let fixed = state.services.values().find(|service| {
        service.removal.is_none() && service.spec.container_name.as_deref() == Some(name)
    });
    fixed.or_else(|| {
        let mut tasks = state.tasks.values();
        let task = tasks.find(|task| task.name == name && task.desired != DesiredState::Remove);
        task.and_then(|task| state.service_of(task))
    })
}

/// Compose's mark of what belongs to a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

pub(super) fn create_network(draft: &mut Draft<'_>, spec: NetworkSpec) -> Result<Reply, Refusal> {
    let taken = draft.state().network_named(&spec.name).is_some();
    if taken || MODES.contains(&spec.name.as_str()) {
        return Err(Refusal::NetworkExists { network: spec.name });
    }
    // Whoever makes one for a project says so by this label: it goes with the rest of the project.
    let stack = spec.labels.get(PROJECT_LABEL).cloned();
    let network = add_network(draft, stack, spec)?;
    Ok(Reply::NetworkCreated {
        id: network.id.clone(),
    })
}

/// A network of a stack: made, or found as it was made before.
pub(super) fn bring_network(
    draft: &mut Draft<'_>,
    stack: &str,
    spec: &NetworkSpec,
) -> Result<(), Refusal> {
    let Some(network) = draft.state().network_named(&spec.name).cloned() else {
        add_network(draft, Some(stack.to_owned()), spec.clone())?;
        return Ok(());
    };
    if let Some(difference) = difference(&network, spec) {
        return Err(Refusal::NetworkChanged {
            network: spec.name.clone(),
            difference: difference.into(),
        });
    }
    let mut changed = (*network).clone();
    changed.removing = false;
    changed.spec = spec.clone();
    if changed != *network {
        draft.push(Change::SetNetwork(Arc::new(changed)));
    }
    Ok(())
}

/// What cannot be changed while containers are connected.
fn difference(network: &Network, spec: &NetworkSpec) -> Option<&'static str> {
    let old = &network.spec;
    let differences = [
        (old.driver != spec.driver, "its driver"),
        (old.driver_opts != spec.driver_opts, "its options"),
        (old.internal != spec.internal, "whether it is internal"),
        (old.subnet != spec.subnet, "its subnet"),
        (old.gateway != spec.gateway, "its gateway"),
        (old.ip_range != spec.ip_range, "its range of addresses"),
        (
            old.enable_ipv6 != spec.enable_ipv6 || old.ipv6_only != spec.ipv6_only,
            "its kinds of addresses",
        ),
        (old.ipv6 != spec.ipv6, "its IPv6 subnet"),
    ];
    differences
        .iter()
        .find(|(differs, _)| *differs)
        .map(|(_, what)| *what)
}

fn add_network(
    draft: &mut Draft<'_>,
    stack: Option<String>,
    spec: NetworkSpec,
) -> Result<Arc<Network>, Refusal> {
    let id = draft.network_id();
    let state = draft.state();
    let no_subnet = || Refusal::NoSubnetLeft {
        network: spec.name.clone(),
    };
    let mut ipv6 = None;
    if spec.enable_ipv6 {
        let chosen = || subnet::choose_ipv6(state, &id);
        let subnet = spec.ipv6.subnet.or_else(chosen).ok_or_else(no_subnet)?;
        ipv6 = Some(place(
            state,
            &spec,
            subnet.into(),
            spec.ipv6.gateway.map(IpAddr::V6),
        )?);
    }
    let main = match ipv6.take_if(|_| spec.ipv6_only) {
        Some(only) => only,
        None => {
            let subnet = spec
                .subnet
                .or_else(|| subnet::choose(state))
                .ok_or_else(no_subnet)?;
            place(state, &spec, subnet.into(), spec.gateway.map(IpAddr::V4))?
        }
    };
    let ipv6 = ipv6.and_then(|(subnet, gateway)| match (subnet, gateway) {
        (IpNet::V6(subnet), IpAddr::V6(gateway)) => Some(Ipv6Subnet { subnet, gateway }),
        _ => None,
    });
    let (subnet, gateway) = main;
    let network = Arc::new(Network {
        id,
        spec,
        stack,
        subnet,
        gateway,
        ipv6,
        vni: 0,
        node_addresses: BTreeMap::new(),
        node_addresses_ipv6: BTreeMap::new(),
        removing: false,
        created_at: draft.now,
    });
    draft.push(Change::SetNetwork(network.clone()));
    Ok(network)
}

/// A subnet that no other network has a part of, and the gateway in it: the first address, if none
/// was chosen.
fn place(
    state: &State,
    spec: &NetworkSpec,
    subnet: IpNet,
    gateway: Option<IpAddr>,
) -> Result<(IpNet, IpAddr), Refusal> {
    let subnet = subnet.trunc();
    for other in state.networks.values() {
        let overlapping = |it: &IpNet| subnet::overlap(it, &subnet);
        if let Some(other_subnet) = other.subnets().find(overlapping) {
            return Err(Refusal::SubnetTaken {
                network: spec.name.clone(),
                subnet,
                other: format!("network `{}`", other.spec.name),
                other_subnet,
            });
        }
    }
    let gateway = gateway.unwrap_or_else(|| subnet::first(subnet));
    if !subnet.contains(&gateway) {
        return Err(Refusal::AddressOutside {
            address: gateway,
            network: spec.name.clone(),
            subnet,
        });
    }
    Ok((subnet, gateway))
}

/// By name, identifier, or the beginning of an identifier that is the only one of its kind.
pub(super) fn find_network<'a>(
    state: &'a State,
    wanted: &str,
) -> Result<&'a Arc<Network>, Refusal> {
    if let Some(network) = state.network_named(wanted) {
        return Ok(network);
    }
    let mut found = state
        .networks
        .values()
        .filter(|it| it.id.as_str().starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(network), None) if !wanted.is_empty() => Ok(network),
        _ => Err(Refusal::UnknownNetwork {
            network: wanted.to_owned(),
        }),
    }
}

pub(super) fn remove_network(draft: &mut Draft<'_>, wanted: &str) -> Result<Reply, Refusal> {
    let network = find_network(draft.state(), wanted)?;
    let name = network.spec.name.clone();
    if name == BRIDGE {
        return Err(Refusal::NetworkPredefined { network: name });
    }
    let id = network.id.clone();
    let users = users(draft.state(), |service| {
        match &service.spec.container.network {
            NetworkMode::Attached(list) => list.iter().any(|it| it.network == name),
            NetworkMode::Host
            | NetworkMode::None
            | NetworkMode::Container(_)
            | NetworkMode::Service(_) => false,
        }
    });
    if !users.is_empty() {
        return Err(Refusal::NetworkInUse {
            network: name,
            users,
        });
    }
    draft.push(Change::RemoveNetwork(id));
    Ok(Reply::Done)
}

/// The services of which this holds, in words.
fn users(state: &State, uses: impl Fn(&Service) -> bool) -> Vec<String> {
    let services = state.services.values().filter(|service| uses(service));
    services.map(|service| describe(service)).collect()
}

/// Making a volume that exists as it is wanted is no mistake, as in Docker.
pub(super) fn create_volume(draft: &mut Draft<'_>, spec: VolumeSpec) -> Result<Reply, Refusal> {
    add_volume(draft, None, &spec)?;
    Ok(Reply::Done)
}

pub(super) fn bring_volume(
    draft: &mut Draft<'_>,
    stack: &str,
    spec: &VolumeSpec,
) -> Result<(), Refusal> {
    add_volume(draft, Some(stack), spec)
}

fn add_volume(
    draft: &mut Draft<'_>,
    stack: Option<&str>,
    spec: &VolumeSpec,
) -> Result<(), Refusal> {
    if let Some(known) = draft.state().volumes.get(&spec.name) {
        if known.spec.driver_opts != spec.driver_opts {
            let volume = spec.name.clone();
            return Err(Refusal::VolumeChanged { volume });
        }
        return Ok(());
    }
    draft.push(Change::SetVolume(Arc::new(Volume {
        spec: spec.clone(),
        stack: stack.map(str::to_owned),
        node: None,
        removing: false,
        created_at: draft.now,
    })));
    Ok(())
}

/// The volume goes when its node has deleted the data.
pub(super) fn remove_volume(draft: &mut Draft<'_>, name: &str) -> Result<Reply, Refusal> {
    let volume = name.to_owned();
    let Some(known) = draft.state().volumes.get(name).cloned() else {
        return Err(Refusal::UnknownVolume { volume });
    };
    let users = users(draft.state(), |service| {
        slot::volumes(&service.spec.container).any(|used| used == name)
    });
    if !users.is_empty() {
        return Err(Refusal::VolumeInUse { volume, users });
    }
    if !known.removing {
        let mut known = (*known).clone();
        known.removing = true;
        draft.push(Change::SetVolume(Arc::new(known)));
    }
    Ok(Reply::Done)
}

pub(super) fn create_content(
    draft: &mut Draft<'_>,
    kind: Kind,
    spec: ContentSpec,
) -> Result<Reply, Refusal> {
    if kind.get(draft.state(), &spec.name).is_some() {
        return Err(Refusal::ContentExists {
            kind: kind.word().into(),
            name: spec.name,
        });
    }
    draft.push(kind.set(StoredContent {
        spec,
        stack: None,
        created_at: draft.now,
    }));
    Ok(Reply::Done)
}

/// A secret or config of a stack. What somebody else made under its name is not written over.
pub(super) fn bring_content(
    draft: &mut Draft<'_>,
    kind: Kind,
    stack: &str,
    spec: &ContentSpec,
) -> Result<(), Refusal> {
    let known = kind.get(draft.state(), &spec.name);
    let own = known
        .as_ref()
        .filter(|it| it.stack.as_deref() == Some(stack));
    if known.is_some() && own.is_none() {
        return Err(Refusal::ContentExists {
            kind: kind.word().into(),
            name: spec.name.clone(),
        });
    }
    if own.is_some_and(|own| own.spec == *spec) {
        return Ok(());
    }
    draft.push(kind.set(StoredContent {
        spec: spec.clone(),
        stack: Some(stack.to_owned()),
        created_at: draft.now,
    }));
    Ok(())
}

pub(super) fn remove_content(
    draft: &mut Draft<'_>,
    kind: Kind,
    name: &str,
) -> Result<Reply, Refusal> {
    let (word, owned) = (kind.word(), name.to_owned());
    if kind.get(draft.state(), name).is_none() {
        return Err(Refusal::UnknownContent {
            kind: word.into(),
            name: owned,
        });
    }
    let users = users(draft.state(), |service| kind.is_granted(service, name));
    if !users.is_empty() {
        return Err(Refusal::ContentInUse {
            kind: word.into(),
            name: owned,
            users,
        });
    }
    draft.push(match kind {
        Kind::Secret => Change::RemoveSecret(owned),
        Kind::Config => Change::RemoveConfig(owned),
    });
    Ok(Reply::Done)
}
