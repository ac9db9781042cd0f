//! The sets and maps of both tables.

use std::net::IpAddr;

use scheduler::model::container::Protocol;

/// Which kind of address. Sets have one kind of element, so most exist twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// As rule text names it.
    pub(super) fn keyword(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// A set or map of the skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// Our bridges.
    Bridges,
    /// Those of them with IPv6 addresses.
    BridgesV6,
    /// Those of them with no way in or out.
    Internal,
    /// Bridge and the same bridge: what the host passes back to where it came from.
    Same,
    /// Those of them where every such packet may pass, not only to published ports.
    Open,
    /// Subnets that leave under the host's address.
    Masquerade(Family),
    /// Container address, protocol and port that are published.
    Published(Family),
    /// Port of any address of the host → container.
    Any(Protocol, Family),
    /// Address and port of the host → container.
    On(Protocol, Family),
    /// Port of any address of the host → the chain that chooses a container of a service.
    Shared(Protocol, Family),
    /// Address and port of the host → the same.
    SharedOn(Protocol, Family),
    /// Address on another node → this node's own address on that network.
    Beyond(Family),
    /// Subnets of our networks: who is there is no client from outside.
    Inside(Family),
    /// Those of the addresses beyond whose nodes send answers back the way that packets came.
    Direct(Family),
    /// Bridge and hardware address of an entry node → what tells its connections from others.
    Marks,
    Zones,
    Ways,
    /// Ports of tunnels, and the nodes that may speak to them.
    Guarded,
    Nodes(Family),
    /// Containers' ports of our bridges (second table).
    Veths,
    /// Those with the addresses that may speak there (second table).
    Pinned(Family),
    /// The same IPv6 addresses as numbers: who may say where they are (second table).
    Told,
    /// Hardware addresses of this node's own on networks that span nodes (second table).
    Own,
    /// Tunnel → this node's own hardware address there (second table).
    OwnOf,
    /// Tunnel → the hardware address of its bridge (second table).
    Gateways,
    /// Tunnel and hardware address of an entry node (second table).
    Entries,
    /// As `Inside` (second table).
    InsideToo(Family),
    /// As `Ways`, and where answers go (the tables of one family).
    WaysOf(Family),
    Back(Family),
}

impl Set {
    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Veths | Self::Pinned(_) | Self::Told | Self::Own => "bridge",
            Self::OwnOf | Self::Gateways | Self::Entries | Self::InsideToo(_) => "bridge",
            Self::WaysOf(family) | Self::Back(family) => family.keyword(),
            _ => "inet",
        }
    }

    pub(super) fn name(self) -> String {
        let six = |family: Family| match family {
            Family::V4 => "",
            Family::V6 => "6",
        };
        let port = |protocol: Protocol, kind: &str, family: Family| {
            format!("{}_{kind}{}", protocol.as_str(), six(family))
        };
        match self {
            Self::Bridges => "bridges".to_owned(),
            Self::BridgesV6 => "bridges6".to_owned(),
            Self::Internal => "internal".to_owned(),
            Self::Same => "same".to_owned(),
            Self::Open => "open".to_owned(),
            Self::Masquerade(family) => format!("masquerade_from{}", six(family)),
            Self::Published(family) => format!("published{}", six(family)),
            Self::Any(protocol, family) => port(protocol, "any", family),
            Self::On(protocol, family) => port(protocol, "on", family),
            Self::Shared(protocol, family) => port(protocol, "shared", family),
            Self::SharedOn(protocol, family) => port(protocol, "shared_on", family),
            Self::Beyond(family) => format!("beyond{}", six(family)),
            Self::Inside(family) | Self::InsideToo(family) => format!("inside{}", six(family)),
            Self::Direct(family) => format!("direct{}", six(family)),
            Self::Marks => "marks".to_owned(),
            Self::Zones => "zones".to_owned(),
            Self::Ways | Self::WaysOf(_) => "ways".to_owned(),
            Self::Back(_) => "back".to_owned(),
            Self::OwnOf => "own_of".to_owned(),
            Self::Gateways => "gateways".to_owned(),
            Self::Entries => "entries".to_owned(),
            Self::Guarded => "guarded".to_owned(),
            Self::Nodes(family) => format!("nodes{}", six(family)),
            Self::Veths => "veths".to_owned(),
            Self::Pinned(family) => format!("pinned{}", six(family)),
            Self::Told => "told".to_owned(),
            Self::Own => "own".to_owned(),
        }
    }
}
