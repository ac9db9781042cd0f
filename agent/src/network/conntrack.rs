//! Forgets connections to containers that are gone.
//!
//! A datagram flow keeps the target that was chosen for its first packet for as long as it goes on:
//! a client that sends without a pause would reach the dead container's address for ever.
//! Entries are found and deleted by where their answers come from.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`; filtered dumps since Linux 5.8.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

const SUBSYSTEM_CONNTRACK: u16 = 1 << 8;
const MESSAGE_NEW: u16 = SUBSYSTEM_CONNTRACK;
const MESSAGE_GET: u16 = SUBSYSTEM_CONNTRACK | 1;
const MESSAGE_DELETE: u16 = SUBSYSTEM_CONNTRACK | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const FILTER: u16 = 25;
const FILTER_REPLY_FLAGS: u16 = 2;
const FILTER_SOURCE_ADDRESS: u32 = 1;
const TUPLE_IP: u16 = 1;
const IP_V4_SOURCE: u16 = 1;
const IP_V6_SOURCE: u16 = 3;

/// Room for a message and its attributes; the kernel's dumps come in pieces of at most this.
const BUFFER_LEN: usize = 32 * 1024;

/// Deletes every connection whose answers come from one of these addresses, in the namespace of
/// the calling thread. Best effort: on failure the entries end by themselves when they are idle.
///
/// It may take 10 ms and more, as the kernel walks through its whole table; nothing at all when
/// the namespace has no connections.
pub(super) fn forget(addresses: &[IpAddr]) {
    if addresses.is_empty() || is_empty() {
        return;
    }
    if let Err(error) = forget_all(addresses) {
        tracing::debug!(?addresses, %error, "cannot forget connections");
    }
}

/// The count is that of the namespace, the table is shared by all.
fn is_empty() -> bool {
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.is_ok_and(|count| count.trim() == "0")
}

fn forget_all(addresses: &[IpAddr]) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    // The kernel answers at once; this only bounds the wait if it should not.
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
    send(
        socket.as_raw_fd(),
        &dump_request(addresses),
        MsgFlags::empty(),
    )?;
    for (family, original) in read_dump(&socket, addresses)? {
        let mut attributes = Vec::new();
        attribute(&mut attributes, TUPLE_ORIGINAL | NESTED, &original);
        let flags = libc::NLM_F_REQUEST as u16;
        let request = message(MESSAGE_DELETE, flags, family, &attributes);
        send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    }
    Ok(())
}

/// The family and the original direction of each connection that is answered from one of the
/// addresses.
fn read_dump(socket: &OwnedFd, addresses: &[IpAddr]) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(found);
        }
        while let Some((kind, body, next)) = split_message(rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE | libc::NLMSG_ERROR => return Ok(found),
                _ if kind == MESSAGE_NEW => {
                    let family = body.first().copied().unwrap_or_default();
                    let original = original_if_answered_from(body, addresses);
                    found.extend(original.map(|it| (family, it)));
                }
                _ => {}
            }
            rest = next;
        }
    }
}

/// All connections; of one address alone, where it is one.
fn dump_request(addresses: &[IpAddr]) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut family = libc::AF_UNSPEC;
    if let [address] = addresses {
        family = match address {
            IpAddr::V4(_) => libc::AF_INET,
            IpAddr::V6(_) => libc::AF_INET6,
        };
        let mut ip = Vec::new();
        let (kind, octets) = source_attribute(*address);
        attribute(&mut ip, kind, &octets);
        let mut tuple = Vec::new();
        attribute(&mut tuple, TUPLE_IP | NESTED, &ip);
        let mut filter = Vec::new();
        attribute(
            &mut filter,
            FILTER_REPLY_FLAGS,
            &FILTER_SOURCE_ADDRESS.to_ne_bytes(),
        );
        attribute(&mut attributes, TUPLE_REPLY | NESTED, &tuple);
        attribute(&mut attributes, FILTER | NESTED, &filter);
    }
    message(
        MESSAGE_GET,
        (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16,
        family as u8,
        &attributes,
    )
}

fn source_attribute(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (IP_V4_SOURCE, address.octets().to_vec()),
        IpAddr::V6(address) => (IP_V6_SOURCE, address.octets().to_vec()),
    }
}

/// Old kernels ignore the filter, so each entry is looked at.
fn original_if_answered_from(body: &[u8], addresses: &[IpAddr]) -> Option<Vec<u8>> {
    // Family, version, id.
    let attributes = body.get(4..)?;
    let reply = find(attributes, TUPLE_REPLY)?;
    let ip = find(reply, TUPLE_IP)?;
    let wanted = addresses.iter().any(|address| {
        let (kind, octets) = source_attribute(*address);
        find(ip, kind) == Some(&octets)
    });
    wanted.then(|| find(attributes, TUPLE_ORIGINAL).map(<[u8]>::to_vec))?
}

const NESTED: u16 = libc::NLA_F_NESTED as u16;

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = ((attributes.len() + 20) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port: one question at a time needs neither.
    message.extend([0; 8]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend(((value.len() + 4) as u16).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Type, body and what follows; `None` at the end, and for a broken message.
fn split_message(messages: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header = messages.get(..16)?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let body = messages.get(16..length)?;
    let next = messages.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((u16::from_ne_bytes([header[4], header[5]]), body, next))
}

fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some(header) = attributes.get(..4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) & !NESTED == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: [u8; 4]) -> Vec<u8> {
        let (mut ip, mut reply, mut entry) = (Vec::new(), Vec::new(), vec![2, 0, 0, 0]);
        attribute(&mut ip, IP_V4_SOURCE, &source);
        attribute(&mut reply, TUPLE_IP | NESTED, &ip);
        attribute(&mut entry, TUPLE_ORIGINAL | NESTED, b"original");
        attribute(&mut entry, TUPLE_REPLY | NESTED, &reply);
        entry
    }

    #[test]
    fn picks_what_is_answered_from_the_address() {
        let address = &[IpAddr::from([10, 1, 0, 2])];
        assert_eq!(
            original_if_answered_from(&entry([10, 1, 0, 2]), address).as_deref(),
            Some(&b"original"[..])
        );
        assert_eq!(
            original_if_answered_from(&entry([10, 1, 0, 3]), address),
            None
        );
        let (entry, request) = (entry([10, 1, 0, 2]), dump_request(address));
        for length in 0..entry.len().min(request.len()) {
            original_if_answered_from(&entry[..length], address);
            split_message(&request[..length]);
        }
    }
}
