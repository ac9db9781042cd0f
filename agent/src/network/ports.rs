//! Published ports: which one, and that nobody else has it.
//!
//! Packets to a published port are redirected before they reach a socket. A socket is bound
//! nevertheless, and never listens: it holds the port, so that another program gets the error it
//! expects, and we get it when another program was first.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, setsockopt,
    socket, sockopt,
};
use scheduler::model::container::{Protocol, PublishedPort};

use super::{BoundPort, NetworkError, PortHolder, holder};

/// A port that is held for a container until this is dropped.
pub(super) struct Held {
    pub(super) port: BoundPort,
    /// Keeps the port.
    _socket: OwnedFd,
}

/// Binds the first free port of those that may be chosen.
pub(super) fn hold(wanted: &PublishedPort) -> Result<Held, NetworkError> {
    let host_ip = host_address(wanted)?;
    let protocol = wanted.protocol;
    for port in choices(wanted) {
        match bind_one(host_ip, port, protocol) {
            Ok((socket, port)) => {
                let port = BoundPort {
                    host_ip,
                    port,
                    target: wanted.target,
                    protocol,
                };
                return Ok(Held {
                    port,
                    _socket: socket,
                });
            }
            Err(Errno::EADDRINUSE) => {}
            Err(Errno::EADDRNOTAVAIL) => {
                return Err(NetworkError::NotOurAddress {
                    address: host_ip.into(),
                });
            }
            Err(errno) => {
                let action = format!("bind port {port}/{} on {host_ip}", protocol.as_str());
                return Err(NetworkError::Kernel {
                    action,
                    source: errno.into(),
                });
            }
        }
    }
    let choices = choices(wanted);
    let (first, last) = (*choices.start(), *choices.end());
    if first != last {
        return Err(NetworkError::RangeInUse {
            host_ip,
            first,
            last,
            protocol,
        });
    }
    let holder =
        holder::find(host_ip, first, protocol).map_or(PortHolder::Unknown, |(pid, name)| {
            PortHolder::Process { pid, name }
        });
    Err(NetworkError::PortInUse {
        host_ip,
        port: first,
        protocol,
        holder,
    })
}

/// Binds a port that was chosen before.
pub(super) fn hold_again(port: &BoundPort) -> Result<Held, NetworkError> {
    hold(&PublishedPort {
        host_ip: Some(IpAddr::V4(port.host_ip)),
        published: Some((port.port, port.port)),
        target: port.target,
        protocol: port.protocol,
        mode: Default::default(),
    })
}

/// The host's address to answer on; `0.0.0.0` for every one.
pub(super) fn host_address(wanted: &PublishedPort) -> Result<Ipv4Addr, NetworkError> {
    match wanted.host_ip {
        None => Ok(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V4(address)) => Ok(address),
        Some(address) => Err(NetworkError::Ipv6Port { address }),
    }
}

/// The ports to try, in order; 0 lets the kernel choose.
fn choices(wanted: &PublishedPort) -> RangeInclusive<u16> {
    match wanted.published {
        None => 0..=0,
        Some((first, last)) => first..=last.max(first),
    }
}

fn bind_one(address: Ipv4Addr, port: u16, protocol: Protocol) -> Result<(OwnedFd, u16), Errno> {
    match bind_plain(address, port, protocol) {
        // A closed connection of an earlier server keeps the port for a minute (TIME_WAIT). With
        // address reuse that does not count, and whoever else reuses addresses is kept off by listening.
        Err(Errno::EADDRINUSE) if protocol == Protocol::Tcp => bind_reusing(address, port),
        result => result,
    }
}

fn bind_plain(address: Ipv4Addr, port: u16, protocol: Protocol) -> Result<(OwnedFd, u16), Errno> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(address, port)),
    )?;
    let bound = getsockname::<SockaddrIn>(socket.as_raw_fd())?.port();
    Ok((socket, bound))
}

fn bind_reusing(address: Ipv4Addr, port: u16) -> Result<(OwnedFd, u16), Errno> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(
        socket.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(address, port)),
    )?;
    listen(&socket, Backlog::new(1)?)?;
    Ok((socket, port))
}

/// Lets the host pass packets on between interfaces, and says what it was before.
pub(super) fn enable_forwarding() -> io::Result<()> {
    const PATH: &str = "/proc/sys/net/ipv4/ip_forward";
    let before = std::fs::read_to_string(PATH)?;
    if before.trim() == "0" {
        // It stays on: others may have come to rely on it.
        tracing::info!("switching on IPv4 forwarding (net.ipv4.ip_forward was 0)");
        std::fs::write(PATH, "1")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
