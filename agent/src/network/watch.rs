//! Hears from the kernel that somebody deleted rules of our table.
//!
//! Source: `include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

// `NFNLGRP_NFTABLES` is group 7; groups are bits, counted from 1.
const GROUPS: u32 = 1 << 6;
const SUBSYSTEM_NFTABLES: u8 = 10;
const MESSAGE_DELETE_TABLE: u8 = 2;
const MESSAGE_DELETE_CHAIN: u8 = 5;
const MESSAGE_DELETE_RULE: u8 = 8;
const MESSAGE_DELETE_SET: u8 = 11;
/// In each of these messages the first attribute is the table's name.
const ATTRIBUTE_TABLE: u16 = 1;

/// A socket that hears of every change to nftables in its network namespace.
pub(super) struct Watch {
    socket: AsyncFd<OwnedFd>,
    table: String,
}

impl Watch {
    pub(super) fn open(table: &str) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        // SAFETY: the descriptor is owned by what is registered, so it is not closed before that ends.
        #[allow(unsafe_code)]
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            table: table.to_owned(),
        })
    }

    /// Returns when something of our table was deleted, or may have been.
    pub(super) async fn lost(&mut self) {
        loop {
            match self.socket.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                // The runtime is ending.
                Err(_) => std::future::pending().await,
            }
            if self.drain(None) {
                return;
            }
        }
    }

    /// Reads what is there: whether something of our table was deleted, or may have been, by anybody
    /// but this process, whose socket has its number (`netlink_autobind` in the kernel).
    pub(super) fn drain(&mut self, ours: Option<u32>) -> bool {
        let mut lost = false;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return lost,
                Ok(length) => {
                    lost |= deletes(buffer.get(..length).unwrap_or(&[]), &self.table, ours);
                }
                Err(Errno::EINTR) => {}
                // More happened than fits into the socket: nobody knows what.
                Err(Errno::ENOBUFS) => lost = true,
                Err(_) => return lost,
            }
        }
    }
}

/// Whether one of the messages, but for those of one sender, deletes the table, or a chain, rule or
/// set of it.
fn deletes(mut messages: &[u8], table: &str, except: Option<u32>) -> bool {
    // Header: length, type, flags, sequence, port (16 bytes); then family, version, id (4 bytes).
    while let Some((header, _)) = messages.split_at_checked(20) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = messages.get(20..length) else {
            return false;
        };
        let kind = u16::from_ne_bytes([header[4], header[5]]).to_be_bytes();
        let sender = u32::from_ne_bytes([header[12], header[13], header[14], header[15]]);
        if except != Some(sender)
            && kind[0] == SUBSYSTEM_NFTABLES
            && matches!(
                kind[1],
                MESSAGE_DELETE_TABLE
                    | MESSAGE_DELETE_CHAIN
                    | MESSAGE_DELETE_RULE
                    | MESSAGE_DELETE_SET
            )
            && table_name(body) == Some(table.as_bytes())
        {
            return true;
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    false
}

fn table_name(mut attributes: &[u8]) -> Option<&[u8]> {
    while let Some((header, _)) = attributes.split_at_checked(4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == ATTRIBUTE_TABLE {
            return value.strip_suffix(&[0]);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, table: &str) -> Vec<u8> {
        let mut name = table.as_bytes().to_vec();
        name.push(0);
        let mut attribute = ((name.len() + 4) as u16).to_ne_bytes().to_vec();
        attribute.extend(ATTRIBUTE_TABLE.to_ne_bytes());
        attribute.extend(name);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        let mut message = ((attribute.len() + 20) as u32).to_ne_bytes().to_vec();
        message.extend(u16::from_be_bytes([SUBSYSTEM_NFTABLES, kind]).to_ne_bytes());
        message.resize(20, 0);
        message.extend(attribute);
        message
    }

    #[test]
    fn sees_deletions_of_our_table_only() {
        let ours = [
            message(6, "wharfie"),
            message(MESSAGE_DELETE_TABLE, "wharfie"),
        ]
        .concat();
        assert!(deletes(&ours, "wharfie", None));
        assert!(!deletes(
            &message(MESSAGE_DELETE_TABLE, "filter"),
            "wharfie",
            None
        ));
        assert!(!deletes(&message(6, "wharfie"), "wharfie", None));
    }

    #[test]
    fn what_we_delete_ourselves_is_not_lost() {
        let mut ours = message(MESSAGE_DELETE_CHAIN, "wharfie");
        ours[12..16].copy_from_slice(&77_u32.to_ne_bytes());
        assert!(!deletes(&ours, "wharfie", Some(77)));
        assert!(deletes(&ours, "wharfie", Some(78)));
        assert!(deletes(&ours, "wharfie", None));
    }

    #[test]
    fn survives_garbage() {
        let whole = message(MESSAGE_DELETE_RULE, "wharfie");
        for length in 0..whole.len() {
            deletes(&whole[..length], "wharfie", None);
        }
        deletes(&[0; 64], "wharfie", Some(0));
        deletes(&[0xff; 64], "wharfie", None);
    }
}
