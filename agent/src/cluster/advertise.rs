//! Which address others reach this node at. Chosen as Swarm does: the only one there is, or the one
//! that was named; never guessed among several.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::ClusterError;
use crate::peer::DEFAULT_PORT;

/// An address of this host, and the interface it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub interface: String,
    pub address: IpAddr,
}

/// What was asked for with `--listen-addr` and `--advertise-addr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    listen: SocketAddr,
    advertise: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(IpAddr, Option<u16>),
    Interface(String, Option<u16>),
}

impl Wish {
    /// # Errors
    ///
    /// Returns [`ClusterError::Address`] for text that is no address.
    pub fn parse(listen: Option<&str>, advertise: Option<&str>) -> Result<Self, ClusterError> {
        let listen = match listen {
            None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
            Some(text) => match place(text)? {
                Place::Address(address, port) => {
                    SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT))
                }
                Place::Interface(..) => return Err(wrong(text, "an IP address is needed")),
            },
        };
        let advertise = advertise.map(place).transpose()?;
        if let Some(Place::Address(address, _)) = &advertise
            && address.is_unspecified()
        {
            return Err(wrong(&address.to_string(), "others cannot reach it"));
        }
        Ok(Self { listen, advertise })
    }

    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where to listen, and where others reach that.
    ///
    /// # Errors
    ///
    /// Returns [`ClusterError::Ambiguous`] with the candidates when there are several.
    pub fn choose(&self, locals: &[Local]) -> Result<(SocketAddr, SocketAddr), ClusterError> {
        let port = self.listen.port();
        let address = match &self.advertise {
            Some(Place::Address(address, own)) => SocketAddr::new(*address, own.unwrap_or(port)),
            Some(Place::Interface(name, own)) => {
                let found = locals.iter().filter(|it| it.interface == *name);
                let found: Vec<IpAddr> = found.map(|it| it.address).collect();
                if found.is_empty() {
                    let why =
                        "no interface of this host that is up and has an address is called so";
                    return Err(wrong(name, why));
                }
                let only = only(found)?;
                SocketAddr::new(only, own.unwrap_or(port))
            }
            None if !self.listen.ip().is_unspecified() => self.listen,
            None => {
                let found = locals.iter().map(|it| it.address);
                SocketAddr::new(only(found.collect())?, port)
            }
        };
        Ok((self.listen, address))
    }

    /// The same for a node that joins: unless told otherwise, the address that it reaches the
    /// manager from.
    ///
    /// # Errors
    ///
    /// As [`Self::choose`].
    pub fn choose_towards(&self, here: IpAddr) -> Result<SocketAddr, ClusterError> {
        if self.advertise.is_none() && self.listen.ip().is_unspecified() {
            return Ok(SocketAddr::new(here, self.listen.port()));
        }
        Ok(self.choose(&of_this_host())?.1)
    }
}

fn only(mut candidates: Vec<IpAddr>) -> Result<IpAddr, ClusterError> {
    candidates.dedup();
    // One of each kind is no choice: the nodes speak IPv4 with each other.
    let fours: Vec<IpAddr> = candidates.iter().copied().filter(IpAddr::is_ipv4).collect();
    let candidates = if fours.is_empty() { candidates } else { fours };
    match candidates.as_slice() {
        [one] => Ok(*one),
        [] => Err(ClusterError::NoCandidate),
        _ => Err(ClusterError::Ambiguous { candidates }),
    }
}

/// The addresses of this host that could be meant: no loopback, no bridges of containers, nothing
/// that is down.
pub fn of_this_host() -> Vec<Local> {
    locals(|flags| flags.contains(InterfaceFlags::IFF_UP))
}

/// All that this host has, also where a cable is out for the moment.
pub fn on_this_host() -> Vec<Local> {
    locals(|_| true)
}

fn locals(counts: impl Fn(InterfaceFlags) -> bool) -> Vec<Local> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let mut locals = Vec::new();
    for found in interfaces {
        let name = &found.interface_name;
        let made_here = ["wh", "docker", "br-", "veth", "virbr", "cni", "podman"];
        let ours = made_here.iter().any(|prefix| name.starts_with(prefix));
        let flags = found.flags;
        if ours || !counts(flags) || flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let Some(address) = found.address else {
            continue;
        };
        let address = address
            .as_sockaddr_in()
            .map(|it| IpAddr::V4(it.ip()))
            .or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())));
        if let Some(address) = address.filter(|it| !is_link_local(it)) {
            locals.push(Local {
                interface: name.clone(),
                address,
            });
        }
    }
    locals
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

/// The managers that were named, each with the port that goes without saying.
///
/// # Errors
///
/// Returns [`ClusterError`] when there is none, or a name is not known.
pub async fn managers(names: &[String]) -> Result<Vec<SocketAddr>, ClusterError> {
    let mut found = Vec::new();
    for name in names {
        if let Ok(Place::Address(address, port)) = place(name) {
            found.push(SocketAddr::new(address, port.unwrap_or(DEFAULT_PORT)));
            continue;
        }
        let full = match name.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => name.clone(),
            _ => format!("{name}:{DEFAULT_PORT}"),
        };
        let looked_up = tokio::net::lookup_host(&full).await;
        found.extend(looked_up.map_err(|source| ClusterError::Lookup {
            host: name.clone(),
            source,
        })?);
    }
    match found.is_empty() {
        true => Err(ClusterError::NoAddress),
        false => Ok(found),
    }
}

/// `address`, `address:port`, `[v6]:port`, `interface` or `interface:port`.
fn place(text: &str) -> Result<Place, ClusterError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Place::Address(address, None));
    }
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Ok(Place::Address(both.ip(), Some(both.port())));
    }
    let (name, port) = match text.split_once(':') {
        None => (text, None),
        Some((name, port)) => {
            let port = port
                .parse()
                .map_err(|_| wrong(text, "the port is no number"))?;
            (name, Some(port))
        }
    };
    // IFNAMSIZ, with its end.
    if name.is_empty() || name.len() > 15 {
        return Err(wrong(
            text,
            "an IP address or the name of an interface is needed",
        ));
    }
    Ok(Place::Interface(name.to_owned(), port))
}

fn wrong(text: &str, why: &'static str) -> ClusterError {
    ClusterError::Address {
        text: text.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, address: &str) -> Local {
        Local {
            interface: interface.into(),
            address: address.parse().unwrap(),
        }
    }

    #[track_caller]
    fn check(listen: Option<&str>, advertise: Option<&str>, locals: &[Local], expected: &str) {
        let chosen = Wish::parse(listen, advertise).and_then(|wish| wish.choose(locals));
        let text = match chosen {
            Ok((listen, advertise)) => format!("{listen} as {advertise}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn the_only_address_is_chosen_and_several_are_a_question() {
        let one = [local("eth0", "10.0.0.1")];
        let two = [local("eth0", "10.0.0.1"), local("eth1", "192.168.1.2")];
        check(None, None, &one, "0.0.0.0:2377 as 10.0.0.1:2377");
        check(
            None,
            None,
            &two,
            "this host has several addresses: 10.0.0.1, 192.168.1.2",
        );
        check(
            None,
            None,
            &[],
            "this host has no address that others could reach",
        );
        check(None, Some("eth1"), &two, "0.0.0.0:2377 as 192.168.1.2:2377");
        check(
            None,
            Some("eth1:99"),
            &two,
            "0.0.0.0:2377 as 192.168.1.2:99",
        );
        check(
            None,
            Some("eth9"),
            &two,
            "`eth9` is no address: no interface of this host that is up and has an address is called so",
        );
        let mixed = [local("eth0", "10.0.0.1"), local("eth0", "2001:db8::1")];
        check(None, None, &mixed, "0.0.0.0:2377 as 10.0.0.1:2377");
    }

    #[test]
    fn what_was_named_is_taken() {
        check(None, Some("10.9.9.9"), &[], "0.0.0.0:2377 as 10.9.9.9:2377");
        check(Some("10.0.0.1:99"), None, &[], "10.0.0.1:99 as 10.0.0.1:99");
        check(
            Some("0.0.0.0:99"),
            Some("[2001:db8::1]:7"),
            &[],
            "0.0.0.0:99 as [2001:db8::1]:7",
        );
        check(
            Some("eth0"),
            None,
            &[],
            "`eth0` is no address: an IP address is needed",
        );
        check(
            None,
            Some("0.0.0.0"),
            &[],
            "`0.0.0.0` is no address: others cannot reach it",
        );
        check(
            None,
            Some("eth0:x"),
            &[],
            "`eth0:x` is no address: the port is no number",
        );
    }

    #[test]
    fn a_joiner_is_where_it_comes_from_unless_told_otherwise() {
        let here = "10.0.0.7".parse().unwrap();
        let check = |listen, advertise, expected: &str| {
            let wish = Wish::parse(listen, advertise).unwrap();
            assert_eq!(wish.choose_towards(here).unwrap().to_string(), expected);
        };
        check(None, None, "10.0.0.7:2377");
        check(Some("0.0.0.0:99"), None, "10.0.0.7:99");
        check(None, Some("10.1.1.1"), "10.1.1.1:2377");
        check(Some("10.2.2.2:5"), None, "10.2.2.2:5");
    }
}
