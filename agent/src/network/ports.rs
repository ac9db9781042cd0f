//! Published ports: which one, and that nobody else has it.
//!
//! Packets to a published port are redirected before they reach a socket. A socket is bound
//! nevertheless, and never listens: it holds the port, so that another program gets the error it
//! expects, and we get it when another program was first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};
use scheduler::model::container::{Protocol, PublishedPort};

use super::relay::Relay;
use super::{BoundPort, NetworkError, PortHolder, holder};

/// A port that is held for a container until this is dropped.
pub(super) struct Held {
    pub(super) port: BoundPort,
    /// Keeps the port.
    socket: OwnedFd,
    relay: Option<Relay>,
}

impl Held {
    /// Where connections go that no packet rule can redirect, if it is a port that has such.
    pub(super) fn lead_to(&mut self, targets: &[IpAddr]) {
        let BoundPort {
            host_ip,
            protocol,
            target,
            ..
        } = self.port;
        let local = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST].map(IpAddr::V6);
        if !local.contains(&host_ip) || protocol != Protocol::Tcp {
            return;
        }
        let alike = targets.iter().filter(|it| it.is_ipv6());
        let targets = alike.map(|it| SocketAddr::new(*it, target)).collect();
        match &self.relay {
            Some(relay) => relay.aim(targets),
            None => match Relay::start(&self.socket, targets) {
                Ok(relay) => self.relay = Some(relay),
                Err(error) => tracing::warn!(port = self.port.port, %error, "no answers on ::1"),
            },
        }
    }
}

/// The kernel chooses for the first address only; the same number may be taken on the second.
const FREE_TRIES: usize = 64;

/// Binds the first free port of those that may be chosen, on each of these addresses of the host.
pub(super) fn hold(
    wanted: &PublishedPort,
    addresses: &[IpAddr],
) -> Result<Vec<Held>, NetworkError> {
    let mut taken = None;
    for number in choices(wanted) {
        match hold_on(wanted, addresses, number) {
            Ok(held) => return Ok(held),
            Err((address, Errno::EADDRINUSE)) => taken = Some(address),
            Err((address, Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT)) => {
                return Err(NetworkError::NotOurAddress { address });
            }
            Err((address, errno)) => {
                let protocol = wanted.protocol.as_str();
                let action = format!("bind port {number}/{protocol} on {address}");
                return Err(NetworkError::Kernel {
                    action,
                    source: errno.into(),
                });
            }
        }
    }
    match taken {
        Some(host_ip) => Err(in_use(wanted, host_ip)),
        None => Ok(Vec::new()),
    }
}

fn hold_on(
    wanted: &PublishedPort,
    addresses: &[IpAddr],
    number: u16,
) -> Result<Vec<Held>, (IpAddr, Errno)> {
    let protocol = wanted.protocol;
    let mut held: Vec<Held> = Vec::new();
    for host_ip in addresses.iter().copied() {
        let number = held.first().map_or(number, |first| first.port.port);
        let bound = bind_one(SocketAddr::new(host_ip, number), protocol);
        let (socket, port) = bound.map_err(|errno| (host_ip, errno))?;
        held.push(Held {
            port: BoundPort {
                host_ip,
                port,
                target: wanted.target,
                protocol,
            },
            socket,
            relay: None,
        });
    }
    Ok(held)
}

fn in_use(wanted: &PublishedPort, host_ip: IpAddr) -> NetworkError {
    let protocol = wanted.protocol;
    let (first, last) = wanted.published.unwrap_or_default();
    if first != last || wanted.published.is_none() {
        return NetworkError::RangeInUse {
            host_ip,
            first,
            last,
            protocol,
        };
    }
    let found = holder::find(host_ip, first, protocol);
    let holder = found.map_or(PortHolder::Unknown, |(pid, name)| PortHolder::Process {
        pid,
        name,
    });
    NetworkError::PortInUse {
        host_ip,
        port: first,
        protocol,
        holder,
    }
}

/// Binds a port that was chosen before.
pub(super) fn hold_again(port: &BoundPort) -> Result<Vec<Held>, NetworkError> {
    let wanted = PublishedPort {
        host_ip: Some(port.host_ip),
        published: Some((port.port, port.port)),
        target: port.target,
        protocol: port.protocol,
        mode: Default::default(),
    };
    hold(&wanted, &[port.host_ip])
}

/// The host's addresses to answer on; `0.0.0.0` and `::` for every one.
pub(super) fn host_addresses(host_ip: Option<IpAddr>) -> Vec<IpAddr> {
    match host_ip {
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Some(address) => vec![address],
    }
}

/// Those of them that can lead to one of the targets.
///
/// # Errors
///
/// [`NetworkError::NoSuchTarget`] when the port was asked for on an address of a kind that none of
/// the targets has.
pub(super) fn host_addresses_towards(
    wanted: &PublishedPort,
    targets: &[IpAddr],
) -> Result<Vec<IpAddr>, NetworkError> {
    let mut addresses = host_addresses(wanted.host_ip);
    if wanted.protocol == Protocol::Udp && wanted.host_ip == Some(Ipv6Addr::LOCALHOST.into()) {
        return Err(NetworkError::NoDatagrams);
    }
    addresses.retain(|it| targets.iter().any(|to| to.is_ipv4() == it.is_ipv4()));
    match (wanted.host_ip, addresses.as_slice()) {
        (Some(address), []) => Err(NetworkError::NoSuchTarget { address }),
        _ => Ok(addresses),
    }
}

/// The ports to try, in order; 0 lets the kernel choose.
fn choices(wanted: &PublishedPort) -> impl Iterator<Item = u16> {
    let (range, tries) = match wanted.published {
        None => (0..=0, FREE_TRIES),
        Some((first, last)) => (first..=last.max(first), 1),
    };
    range.flat_map(move |port| std::iter::repeat_n(port, tries))
}

fn bind_one(address: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, u16), Errno> {
    match bind_plain(address, protocol) {
        // A closed connection of an earlier server keeps the port for a minute (TIME_WAIT). With
        // address reuse that does not count, and whoever else reuses addresses is kept off by listening.
        Err(Errno::EADDRINUSE) if protocol == Protocol::Tcp => bind_reusing(address),
        result => result,
    }
}

fn bind_plain(address: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, u16), Errno> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket_for(address, kind)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let port = bound_port(&socket)?;
    Ok((socket, port))
}

fn bind_reusing(address: SocketAddr) -> Result<(OwnedFd, u16), Errno> {
    let socket = socket_for(address, SockType::Stream)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(1)?)?;
    Ok((socket, address.port()))
}

fn socket_for(address: SocketAddr, kind: SockType) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        // `::` is not to take the port of 0.0.0.0 too, which is held apart.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(socket)
}

fn bound_port(socket: &OwnedFd) -> Result<u16, Errno> {
    let bound: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let four = bound.as_sockaddr_in().map(|it| it.port());
    let six = bound.as_sockaddr_in6().map(|it| it.port());
    Ok(four.or(six).unwrap_or_default())
}

#[cfg(test)]
mod tests;
